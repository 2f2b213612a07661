"""The content-addressed store of finished chunks.

A checkpoint has three files: ``<key>.parquet`` with the candidates, ``<key>.counts.parquet`` with the pair counts, and
``<key>.json`` with the record. The key is the digest of everything the result depends on, so resume, re-run and retry
ask the same question: is there a valid checkpoint under this key? For the same reason, several runs may share a
location.

The record is written last. It contains size and digest of both tables and its own digest, and each table contains the
key: files that do not agree are not a checkpoint. Does not cover how a file is stored atomically (``core``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from enrich_dist.core.files import bytes_digest, read_bytes, text_digest
from enrich_dist.core.json_documents import JsonCodec
from enrich_dist.core.owned_files import is_temporary, remove_files
from enrich_dist.core.storage import Entry, open_storage
from enrich_dist.errors import CorruptionError

if TYPE_CHECKING:
    import pyarrow as pa

    from enrich_dist.store.checkpoint_tables import Content

FORMAT_VERSION = "7"  # 7: keys of the recipients
T = TypeVar("T")
_TABLE, _RECORD = ".parquet", ".json"
_NAME: Final = re.compile(r"[0-9a-f]{64}(\.counts\.parquet|\.parquet|\.json)")
_MISSING: Final = "{} is missing, but its record exists."
_ALTERED: Final = "{} is not the file that was written."


@dataclass(frozen=True)
class CheckpointRecord:
    """The record of a finished chunk.

    ``rows_in = rows_with_candidates + rows_without_candidates + rows_quarantined``. The fields from ``seconds`` on
    describe how the chunk was computed and do not affect any result.
    """

    key: str
    rows_in: int
    rows_with_candidates: int
    rows_without_candidates: int
    rows_quarantined: int
    quarantined: list[dict[str, Any]]  # source_row and reason of each quarantined row
    candidates: int
    bytes: int
    blake3: str
    counts_bytes: int
    counts_blake3: str
    seconds: float
    peak_memory_bytes: int
    projected_peak_memory_bytes: int  # before the run, for batches of batch_rows
    memory_method: str
    memory_limit_bytes: int  # of the worker; 0 where it has none
    worker: str
    host: str
    pid: int
    attempt: int
    parts: int
    batch_rows: int  # rows per batch at the start
    batch_rows_least: int  # rows per batch at the end
    degradations: int  # how often the worker halved the batch near its memory limit
    address: str = ""  # of the worker; empty in records of earlier versions

    def __post_init__(self) -> None:
        if self.rows_quarantined != len(self.quarantined):
            raise ValueError("rows_quarantined is not the number of rows listed as quarantined")
        if self.rows_in != self.rows_with_candidates + self.rows_without_candidates + self.rows_quarantined:
            raise ValueError("the row counts do not add up")


_CODEC: Final = JsonCodec(CheckpointRecord, kind="checkpoint record", remedy=None, digest_key="record_blake3")


def checkpoint_key(*, chunk_digest: str, index_digest: str, matcher_key: str) -> str:
    """Return the key under which the candidates of a chunk are stored."""
    return text_digest("checkpoint", FORMAT_VERSION, chunk_digest, index_digest, matcher_key)


@dataclass(frozen=True)
class Checkpoint:
    """A valid checkpoint: its record, and local files with its tables."""

    record: CheckpointRecord
    candidates: Path
    counts: Path


class CheckpointStore:
    """Checkpoints in one location: a directory, or the URI of a prefix in an object store."""

    def __init__(self, location: str | Path) -> None:
        self.storage = open_storage(location)

    @property
    def location(self) -> str:
        """The directory or URI."""
        return self.storage.location

    def write(
        self, key: str, candidates: pa.Table, counts: pa.Table, known: Callable[[], dict[str, Any]]
    ) -> CheckpointRecord:
        """Write candidates and counts, verify what is stored, then write the record.

        ``known`` returns the other fields of the record. It is called after the tables are written, so that they
        include the time and memory of writing. Raises ``CorruptionError`` when a table has another schema, or reads
        back differently.
        """
        from enrich_dist.store.checkpoint_tables import Content

        size, digest = self._write_table(key, candidates_name(key), candidates, Content.CANDIDATES)
        counts_size, counts_digest = self._write_table(key, counts_name(key), counts, Content.COUNTS)
        record = CheckpointRecord(
            key=key,
            candidates=len(candidates),
            bytes=size,
            blake3=digest,
            counts_bytes=counts_size,
            counts_blake3=counts_digest,
            **known(),
        )
        self.storage.put(record_name(key), _CODEC.to_bytes(record))
        return record

    def _write_table(self, key: str, name: str, table: pa.Table, content: Content) -> tuple[int, str]:
        """Write a table with its key; return size and digest of the file."""
        from enrich_dist.store.checkpoint_tables import encode

        data = encode(table, content, key, self.storage.where(name))
        self.storage.put(name, data)
        return len(data), bytes_digest(data)

    def read_record(self, key: str, *, verify: bool = True) -> CheckpointRecord:
        """Return the record of a valid checkpoint. Without ``verify``, only the sizes of the tables are checked.

        Raises ``FileNotFoundError`` when there is none, ``CorruptionError`` when it is not valid.
        """
        record = self._read_record(key)
        for table in _tables(record):
            where = self.storage.where(table.name)
            try:
                if verify:
                    table.require(self.storage.get(table.name), where)
                elif self.storage.size(table.name) != table.size_bytes:
                    raise CorruptionError(_ALTERED.format(where))
            except FileNotFoundError as error:
                raise CorruptionError(_MISSING.format(where)) from error
        return record

    def fetch(self, key: str, directory: Path, *, refresh: bool = False) -> Checkpoint:
        """Return a valid checkpoint with its tables as local files.

        In a directory these are the files themselves; else they are copied to ``directory``, where a valid copy is
        reused unless ``refresh`` is set. Raises ``FileNotFoundError`` when there is none, ``CorruptionError`` when it
        is not valid.
        """
        record = self._read_record(key)
        candidates, counts = (self._fetch(table, directory, refresh=refresh) for table in _tables(record))
        return Checkpoint(record, candidates, counts)

    def candidates_file(self, key: str, directory: Path) -> Path:
        """Return a local file with the candidates, as ``fetch`` without verifying it. Raises ``FileNotFoundError``."""
        return self.storage.fetch(candidates_name(key), directory)

    def _fetch(self, table: _StoredTable, directory: Path, *, refresh: bool) -> Path:
        where = self.storage.where(table.name)
        copy = directory / table.name
        if not refresh and copy.exists():
            with suppress(CorruptionError):
                table.require(read_bytes(copy), where)
                return copy
        try:
            copy = self.storage.fetch(table.name, directory)
        except FileNotFoundError as error:
            raise CorruptionError(_MISSING.format(where)) from error
        table.require(read_bytes(copy), where)
        return copy

    def find(self, keys: Iterable[str], *, verify: bool = True) -> tuple[dict[str, CheckpointRecord], list[str]]:
        """Return the records of the valid checkpoints among ``keys``, and a message for each invalid one."""
        return self._each(keys, lambda key: self.read_record(key, verify=verify))

    def find_tables(
        self, keys: Iterable[str], directory: Path, *, refresh: bool = False
    ) -> tuple[dict[str, Checkpoint], list[str]]:
        """Return the valid checkpoints among ``keys`` (``fetch``), and a message for each invalid one."""
        return self._each(keys, lambda key: self.fetch(key, directory, refresh=refresh))

    def recorded(self) -> set[str]:
        """Return the keys that have a record; nothing is verified."""
        return {entry.name.removesuffix(_RECORD) for entry in self.storage.list() if entry.name.endswith(_RECORD)}

    def leftovers(self, keys: set[str]) -> list[Entry]:
        """Return the files that belong to none of the keys: other plans' checkpoints, and partial files."""
        return [
            entry
            for entry in self.storage.list()
            if is_temporary(entry.name) or (_NAME.fullmatch(entry.name) and entry.name.split(".")[0] not in keys)
        ]

    def check(self) -> None:
        """Raise ``StorageError`` unless the location can be used, and has nothing but checkpoints."""
        self.storage.check(lambda name: is_temporary(name) or _NAME.fullmatch(name) is not None)

    def wrote(self, name: str) -> bool:
        """Return whether a leftover is ours: a temporary file, or of a checkpoint of which one file has the key."""
        if is_temporary(name):
            return True
        key = name.split(".")[0]
        with suppress(OSError, CorruptionError):
            return self._read_record(key).key == key
        from enrich_dist.store.checkpoint_tables import has_key

        answers = (has_key(partial(self.storage.open, name), key) for name in (candidates_name(key), counts_name(key)))
        return next((answer for answer in answers if answer is not None), False)

    def _each(self, keys: Iterable[str], read: Callable[[str], T]) -> tuple[dict[str, T], list[str]]:
        found: dict[str, T] = {}
        damaged = []
        with ThreadPoolExecutor(self.storage.parallel_reads) as pool:
            for key, reading in [(key, pool.submit(read, key)) for key in keys]:
                try:
                    found[key] = reading.result()
                except FileNotFoundError:
                    continue
                except CorruptionError as error:
                    damaged.append(str(error))
        return found, damaged

    def _read_record(self, key: str) -> CheckpointRecord:
        name = record_name(key)
        where = self.storage.where(name)
        record = _CODEC.from_bytes(self.storage.get(name), where)
        if record.key != key:
            raise CorruptionError(f"{where} belongs to another checkpoint ({record.key[:12]}).")
        return record


@dataclass(frozen=True)
class _StoredTable:
    """What the record says about one of its tables."""

    key: str
    name: str
    size_bytes: int
    blake3: str
    content: Content
    rows: int | None

    def require(self, data: bytes, where: str) -> None:
        """Raise ``CorruptionError`` unless ``data`` is this table."""
        if len(data) != self.size_bytes or bytes_digest(data) != self.blake3:
            raise CorruptionError(_ALTERED.format(where))
        from enrich_dist.store.checkpoint_tables import require

        require(data, self.content, self.key, self.rows, where)


def candidates_name(key: str) -> str:
    """Return the name of a checkpoint's candidates file."""
    return f"{key}{_TABLE}"


def counts_name(key: str) -> str:
    """Return the name of a checkpoint's counts file."""
    return f"{key}.counts{_TABLE}"


def record_name(key: str) -> str:
    """Return the name of a checkpoint's record."""
    return f"{key}{_RECORD}"


def drop_copies(directory: Path, keys: set[str]) -> None:
    """Delete copies that ``fetch`` made of checkpoints other than ``keys``."""
    remove_files(
        directory, lambda name: is_temporary(name) or bool(_NAME.fullmatch(name) and name.split(".")[0] not in keys)
    )


def _tables(record: CheckpointRecord) -> tuple[_StoredTable, _StoredTable]:
    from enrich_dist.store.checkpoint_tables import Content

    key = record.key
    return (
        _StoredTable(key, candidates_name(key), record.bytes, record.blake3, Content.CANDIDATES, record.candidates),
        _StoredTable(key, counts_name(key), record.counts_bytes, record.counts_blake3, Content.COUNTS, None),
    )
