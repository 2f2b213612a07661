"""The content-addressed store of finished chunks: ``<key>.parquet`` with the candidates, ``<key>.counts.parquet`` with
what else the chunk counted, ``<key>.json`` beside them.

A key is the digest of all that the result depends on, so resume, re-run and retry are one question: is there a
valid checkpoint under this key? The JSON file is written last and names size and digest of the others: files that do
not agree with it are not a checkpoint. Covers a local or shared POSIX file system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.errors import CorruptionError
from enrich_dist.files import atomic_path, file_digest, read_json, text_digest, write_json

FORMAT_VERSION = "4"


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
    sha256: str
    counts_bytes: int
    counts_sha256: str
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


def checkpoint_key(*, chunk_sha256: str, index_digest: str, matcher_key: str) -> str:
    """The key under which the candidates of a chunk are stored."""
    return text_digest("checkpoint", FORMAT_VERSION, chunk_sha256, index_digest, matcher_key)


class CheckpointStore:
    """Checkpoints in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def data_path(self, key: str) -> Path:
        """Where the candidates of ``key`` stand."""
        return self.directory / f"{key}.parquet"

    def counts_path(self, key: str) -> Path:
        """Where the counts of ``key`` stand."""
        return self.directory / f"{key}.counts.parquet"

    def record_path(self, key: str) -> Path:
        """Where the record of ``key`` stands."""
        return self.directory / f"{key}.json"

    def write(
        self, key: str, candidates: pa.Table, counts: pa.Table, known: Callable[[], dict[str, Any]]
    ) -> CheckpointRecord:
        """Write candidates and counts, verify what is on the disk, then write the record.

        ``known`` gives its other fields; it is asked after the tables are written, so that they can tell what
        writing took.

        Raises ``CorruptionError`` when a file read back is not what was written.
        """
        size, sha256 = _write_table(self.data_path(key), candidates)
        counts_size, counts_sha256 = _write_table(self.counts_path(key), counts)
        record = CheckpointRecord(
            key=key,
            candidates=len(candidates),
            bytes=size,
            sha256=sha256,
            counts_bytes=counts_size,
            counts_sha256=counts_sha256,
            **known(),
        )
        write_json(self.record_path(key), asdict(record))
        return record

    def read_record(self, key: str, *, verify: bool = True) -> CheckpointRecord:
        """The record of a valid checkpoint. Without ``verify`` its data are believed to be what it says.

        Raises ``FileNotFoundError`` when there is none, ``CorruptionError`` when it is not valid.
        """
        path = self.record_path(key)
        document = read_json(path)
        try:
            record = CheckpointRecord(**document)
            well_formed = all(isinstance(document[item.name], _TYPES[str(item.type)]) for item in fields(record))
        except (TypeError, KeyError):
            well_formed = False
        if not well_formed:
            raise CorruptionError(f"{path} is not the record of a checkpoint.")
        if record.key != key:
            raise CorruptionError(f"{path} is the record of another checkpoint ({record.key[:12]}).")
        if record.rows_quarantined != len(record.quarantined):
            raise CorruptionError(f"{path}: the rows set aside are not those that are listed.")
        if record.rows_in != record.rows_with_candidates + record.rows_without_candidates + record.rows_quarantined:
            raise CorruptionError(f"{path}: its row counts do not add up.")
        for data, size, sha256 in (
            (self.data_path(key), record.bytes, record.sha256),
            (self.counts_path(key), record.counts_bytes, record.counts_sha256),
        ):
            if not data.exists():
                raise CorruptionError(f"{data} is missing beside its record.")
            if data.stat().st_size != size or (verify and file_digest(data) != sha256):
                raise CorruptionError(f"{data} is not the file that was written.")
        return record

    def find(self, keys: Iterable[str]) -> tuple[dict[str, CheckpointRecord], list[str]]:
        """Valid checkpoints among ``keys``, and a message for each one that is there but not valid."""
        valid: dict[str, CheckpointRecord] = {}
        damaged: list[str] = []
        for key in keys:
            try:
                valid[key] = self.read_record(key)
            except FileNotFoundError:
                continue
            except CorruptionError as error:
                damaged.append(str(error))
        return valid, damaged


def _write_table(path: Path, table: pa.Table) -> tuple[int, str]:
    """Write a table and read it back; return the file's size and digest."""
    table = table.replace_schema_metadata(None)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
        sha256 = file_digest(temporary)
        if not pq.read_table(temporary).equals(table):
            raise CorruptionError(f"{path} reads back differently from what was written.")
        return temporary.stat().st_size, sha256


_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "list[dict[str, Any]]": list,
}
