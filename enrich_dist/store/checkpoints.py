"""The content-addressed store of finished chunks.

A checkpoint has three files: ``<key>.parquet`` with the candidates, ``<key>.counts.parquet`` with the pair counts, and
``<key>.json`` with the record. The key is the digest of everything the result depends on, so resume, re-run and retry
ask the same question: is there a valid checkpoint under this key? For the same reason, several runs may share a
location.

The record is written last. It contains size and digest of both tables and its own digest, and each table contains the
key: files that do not agree are not a checkpoint. Does not cover how a file is stored atomically (``core``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.files import TEMPORARY_PREFIX, bytes_digest, text_digest
from enrich_dist.core.json_documents import JsonCodec
from enrich_dist.core.storage import Entry, open_storage
from enrich_dist.errors import CorruptionError

FORMAT_VERSION = "6"
T = TypeVar("T")
_TABLE, _RECORD = ".parquet", ".json"
_KEY = b"enrich_dist.checkpoint"  # in the schema metadata of both tables
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
        size, digest = self._write_table(key, candidates_name(key), candidates, schema.CANDIDATE)
        counts_size, counts_digest = self._write_table(key, counts_name(key), counts, schema.COUNT)
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

    def _write_table(self, key: str, name: str, table: pa.Table, expected: pa.Schema) -> tuple[int, str]:
        """Write a table with its key; return size and digest of the file."""
        # In one piece: the layout of batches must not show in the bytes.
        table = table.combine_chunks().replace_schema_metadata({_KEY: key})
        where = self.storage.where(name)
        _require_columns(table.schema, expected, where)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        encoded = sink.getvalue()
        if not pq.read_table(pa.BufferReader(encoded)).equals(table):
            raise CorruptionError(f"{where} reads back differently from what was written.")
        data = encoded.to_pybytes()
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
                table.require(copy.read_bytes(), where)
                return copy
        try:
            copy = self.storage.fetch(table.name, directory)
        except FileNotFoundError as error:
            raise CorruptionError(_MISSING.format(where)) from error
        table.require(copy.read_bytes(), where)
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
            if entry.name.startswith(TEMPORARY_PREFIX)
            or (entry.name.endswith((_RECORD, _TABLE)) and entry.name.split(".")[0] not in keys)
        ]

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
    columns: pa.Schema
    rows: int | None

    def require(self, data: bytes, where: str) -> None:
        """Raise ``CorruptionError`` unless ``data`` is this table."""
        if len(data) != self.size_bytes or bytes_digest(data) != self.blake3:
            raise CorruptionError(_ALTERED.format(where))
        try:
            metadata = pq.read_metadata(pa.BufferReader(data))
        except (pa.ArrowException, OSError) as error:
            raise CorruptionError(f"{where} is not a Parquet file ({error}).") from error
        found = metadata.schema.to_arrow_schema()
        _require_columns(found, self.columns, where)
        key = (found.metadata or {}).get(_KEY, b"").decode("utf-8", "replace")
        if key != self.key:
            raise CorruptionError(f"{where} belongs to another checkpoint ({key[:12] or 'no key'}).")
        if self.rows is not None and metadata.num_rows != self.rows:
            raise CorruptionError(f"{where} has {metadata.num_rows} rows, but its record says {self.rows}.")


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
    if directory.is_dir():
        for path in directory.iterdir():
            if path.name.split(".")[0] not in keys:
                path.unlink(missing_ok=True)


def _tables(record: CheckpointRecord) -> tuple[_StoredTable, _StoredTable]:
    key = record.key
    return (
        _StoredTable(key, candidates_name(key), record.bytes, record.blake3, schema.CANDIDATE, record.candidates),
        _StoredTable(key, counts_name(key), record.counts_bytes, record.counts_blake3, schema.COUNT, None),
    )


def _require_columns(found: pa.Schema, expected: pa.Schema, where: str) -> None:
    # Nullability is not compared: writers of equal tables set it differently.
    if [(field.name, field.type) for field in found] != [(field.name, field.type) for field in expected]:
        raise CorruptionError(f"{where} has other columns than a checkpoint table.")
