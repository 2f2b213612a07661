"""The content-addressed store of finished chunks: ``<key>.parquet`` with the candidates, ``<key>.counts.parquet`` with
what else the chunk counted, ``<key>.json`` beside them.

A key is the digest of all that the result depends on, so resume, re-run and retry are one question: is there a
valid checkpoint under this key? The JSON file is written last. It names size and digest of the others and bears a
digest of itself, and the others bear the key: files that do not agree are not a checkpoint. For the same reason several
runs may share a location: under one key all of them would write the same. Does not cover how a file is stored whole
(``storage``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.files import TEMPORARY_PREFIX, bytes_digest, document_digest, json_bytes, parse_json, text_digest
from enrich_dist.core.storage import Entry, open_storage
from enrich_dist.errors import CorruptionError

FORMAT_VERSION = "6"
T = TypeVar("T")
_TABLE, _RECORD = ".parquet", ".json"
_KEY = b"enrich_dist.checkpoint"  # in the metadata of both tables: whose they are
_SELF = "record_blake3"  # in the record: the digest of all else in it


@dataclass(frozen=True)
class CheckpointRecord:
    """What is known of one finished chunk.

    ``rows_in = rows_with_candidates + rows_without_candidates + rows_quarantined``. The fields from ``seconds`` on
    tell how it was computed and play no part in any result.
    """

    key: str
    rows_in: int
    rows_with_candidates: int
    rows_without_candidates: int
    rows_quarantined: int
    quarantined: list[dict[str, Any]]  # of each such row its source_row and the reason
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
    batch_rows: int  # rows matched at a time, at first
    batch_rows_least: int  # and in the end
    degradations: int  # how often the worker halved them, near its memory limit


def checkpoint_key(*, chunk_digest: str, index_digest: str, matcher_key: str) -> str:
    """The key under which the candidates of a chunk are stored."""
    return text_digest("checkpoint", FORMAT_VERSION, chunk_digest, index_digest, matcher_key)


@dataclass(frozen=True)
class Checkpoint:
    """A valid checkpoint: its record, and local files with its tables."""

    record: CheckpointRecord
    candidates: Path
    counts: Path


class CheckpointStore:
    """Checkpoints in one location: a directory, or the URI of a prefix in an object store (``storage``)."""

    def __init__(self, location: str | Path) -> None:
        self.storage = open_storage(location)

    @property
    def location(self) -> str:
        """The directory or URI."""
        return self.storage.location

    def data_path(self, key: str) -> Path:
        """Where the candidates of ``key`` stand, in a directory."""
        return Path(self.location) / candidates_name(key)

    def counts_path(self, key: str) -> Path:
        """Where the counts of ``key`` stand, in a directory."""
        return Path(self.location) / counts_name(key)

    def record_path(self, key: str) -> Path:
        """Where the record of ``key`` stands, in a directory."""
        return Path(self.location) / record_name(key)

    def write(
        self, key: str, candidates: pa.Table, counts: pa.Table, known: Callable[[], dict[str, Any]]
    ) -> CheckpointRecord:
        """Write candidates and counts, verify what is stored, then write the record.

        ``known`` gives its other fields; it is asked after the tables are written, so that they can tell what
        writing took.

        Raises ``CorruptionError`` when a table is of another schema, or a file read back is not what was written.
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
        document = asdict(record)
        self.storage.put(record_name(key), json_bytes({**document, _SELF: document_digest(document)}))
        return record

    def _write_table(self, key: str, name: str, table: pa.Table, expected: pa.Schema) -> tuple[int, str]:
        """Write a table that bears its key; return the file's size and digest."""
        # In one piece: how a table was put together must not show in its bytes.
        table = table.combine_chunks().replace_schema_metadata({_KEY: key})
        where = self.storage.where(name)
        if not _same_columns(table.schema, expected):
            raise CorruptionError(f"{where} was to be written with other columns than those of a checkpoint.")
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        encoded = sink.getvalue()
        if not pq.read_table(pa.BufferReader(encoded)).equals(table):
            raise CorruptionError(f"{where} reads back differently from what was written.")
        data = encoded.to_pybytes()
        self.storage.put(name, data)
        return len(data), bytes_digest(data)

    def read_record(self, key: str, *, verify: bool = True) -> CheckpointRecord:
        """The record of a valid checkpoint. Without ``verify`` its data are believed to be what it says.

        Raises ``FileNotFoundError`` when there is none, ``CorruptionError`` when it is not valid.
        """
        record = self._read_record(key)
        for table in _tables(record):
            where = self.storage.where(table.name)
            try:
                if verify:
                    table.require(self.storage.get(table.name), where)
                elif self.storage.size(table.name) != table.size_bytes:
                    raise _altered(where)
            except FileNotFoundError as error:
                raise _missing(where) from error
        return record

    def fetch(self, key: str, directory: Path, *, anew: bool = False) -> Checkpoint:
        """A valid checkpoint with its tables as local files: those of the location where it is a directory, else
        copies in ``directory``. A valid copy that is there already is taken, unless ``anew``.

        Raises ``FileNotFoundError`` when there is none, ``CorruptionError`` when it is not valid.
        """
        record = self._read_record(key)
        candidates, counts = (self._fetch(table, directory, anew=anew) for table in _tables(record))
        return Checkpoint(record, candidates, counts)

    def candidates_file(self, key: str, directory: Path) -> Path:
        """A local file with the candidates of a checkpoint, which is not verified; a copy goes to ``directory``.

        Raises ``FileNotFoundError`` when there is none.
        """
        return self.storage.fetch(candidates_name(key), directory)

    def _fetch(self, table: _StoredTable, directory: Path, *, anew: bool) -> Path:
        where = self.storage.where(table.name)
        copy = directory / table.name
        if not anew and copy.exists():
            with suppress(CorruptionError):
                table.require(copy.read_bytes(), where)
                return copy
        try:
            copy = self.storage.fetch(table.name, directory)
        except FileNotFoundError as error:
            raise _missing(where) from error
        table.require(copy.read_bytes(), where)
        return copy

    def find(self, keys: Iterable[str], *, verify: bool = True) -> tuple[dict[str, CheckpointRecord], list[str]]:
        """Return the records of the valid checkpoints among ``keys``, and a message for each invalid one."""
        return self._each(keys, lambda key: self.read_record(key, verify=verify))

    def find_tables(
        self, keys: Iterable[str], directory: Path, *, anew: bool = False
    ) -> tuple[dict[str, Checkpoint], list[str]]:
        """The valid checkpoints among ``keys`` as ``fetch`` gives them, and a message for each that is not valid."""
        return self._each(keys, lambda key: self.fetch(key, directory, anew=anew))

    def recorded(self) -> set[str]:
        """Keys under which there is a record; nothing is verified."""
        return {entry.name.removesuffix(_RECORD) for entry in self.storage.list() if entry.name.endswith(_RECORD)}

    def leftovers(self, keys: set[str]) -> list[Entry]:
        """Files of the location that belong to none of the keys: checkpoints of other plans, and what writers that
        died left behind."""
        return [
            entry
            for entry in self.storage.list()
            if entry.name.startswith(TEMPORARY_PREFIX)
            or (entry.name.endswith((_RECORD, _TABLE)) and entry.name.split(".")[0] not in keys)
        ]

    def _each(self, keys: Iterable[str], read: Callable[[str], T]) -> tuple[dict[str, T], list[str]]:
        def attempted(key: str) -> T | str | None:
            try:
                return read(key)
            except FileNotFoundError:
                return None
            except CorruptionError as error:
                return str(error)

        asked = list(keys)
        with ThreadPoolExecutor(self.storage.parallel_reads) as pool:
            found = dict(zip(asked, pool.map(attempted, asked), strict=True))
        damaged = [answer for answer in found.values() if isinstance(answer, str)]
        return {
            key: answer for key, answer in found.items() if not (answer is None or isinstance(answer, str))
        }, damaged

    def _read_record(self, key: str) -> CheckpointRecord:
        name = record_name(key)
        where = self.storage.where(name)
        document = parse_json(self.storage.get(name), where)
        digest = document.pop(_SELF, None)
        try:
            record = CheckpointRecord(**document)
            well_formed = all(isinstance(document[item.name], _TYPES[str(item.type)]) for item in fields(record))
        except (TypeError, KeyError):
            well_formed = False
        if not well_formed:
            raise CorruptionError(f"{where} is not the record of a checkpoint.")
        if digest != document_digest(document):
            raise _altered(where)
        if record.key != key:
            raise CorruptionError(f"{where} is the record of another checkpoint ({record.key[:12]}).")
        if record.rows_quarantined != len(record.quarantined):
            raise CorruptionError(f"{where}: the rows set aside are not those that are listed.")
        if record.rows_in != record.rows_with_candidates + record.rows_without_candidates + record.rows_quarantined:
            raise CorruptionError(f"{where}: its row counts do not add up.")
        return record


@dataclass(frozen=True)
class _StoredTable:
    """One of the tables of a checkpoint, as its record tells it."""

    key: str
    name: str
    size_bytes: int
    blake3: str
    columns: pa.Schema
    rows: int | None

    def require(self, data: bytes, where: str) -> None:
        """Raise ``CorruptionError`` unless these are the bytes that the record names, and they are this very table."""
        if len(data) != self.size_bytes or bytes_digest(data) != self.blake3:
            raise _altered(where)
        try:
            metadata = pq.read_metadata(pa.BufferReader(data))
        except (pa.ArrowException, OSError) as error:
            raise CorruptionError(f"{where} is no Parquet file ({error}).") from error
        found = metadata.schema.to_arrow_schema()
        if not _same_columns(found, self.columns):
            raise CorruptionError(f"{where} has other columns than those of a checkpoint.")
        bears = (found.metadata or {}).get(_KEY, b"").decode("utf-8", "replace")
        if bears != self.key:
            raise CorruptionError(f"{where} holds the table of another checkpoint ({bears[:12] or 'without a key'}).")
        if self.rows is not None and metadata.num_rows != self.rows:
            raise CorruptionError(f"{where} holds {metadata.num_rows} rows, its record says {self.rows}.")


def candidates_name(key: str) -> str:
    """The file of a checkpoint's candidates."""
    return f"{key}{_TABLE}"


def counts_name(key: str) -> str:
    """The file of a checkpoint's counts."""
    return f"{key}.counts{_TABLE}"


def record_name(key: str) -> str:
    """The file of a checkpoint's record."""
    return f"{key}{_RECORD}"


def drop_copies(directory: Path, keys: set[str]) -> None:
    """Remove copies that ``fetch`` left of other checkpoints than these."""
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


def _same_columns(found: pa.Schema, expected: pa.Schema) -> bool:
    # Whether a column may hold nulls is not kept alike by all that makes tables.
    return [(field.name, field.type) for field in found] == [(field.name, field.type) for field in expected]


def _missing(where: str) -> CorruptionError:
    return CorruptionError(f"{where} is missing beside its record.")


def _altered(where: str) -> CorruptionError:
    return CorruptionError(f"{where} is not the file that was written.")


_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "list[dict[str, Any]]": list,
}
