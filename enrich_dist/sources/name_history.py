"""Names of organisations over time (``schema.NAME_HISTORY``), from any number of files with names and identifiers.

Covers award downloads of USAspending (contracts and assistance, transactions and award summaries, old and new headers),
SAM's public extract, and the files that ``NameTable.write`` makes, in all formats of files. DuckDB aggregates in
bounded memory. The names do not depend on the order of files and rows. Does not cover which columns have names
(``name_records``) nor which names a recipient gets (``former_names``).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.database import connect, execute_on_batches
from enrich_dist.core.files import atomic_path, document_digest, text_digest
from enrich_dist.core.owned_files import require_replaceable
from enrich_dist.errors import SettingsError, SourceError
from enrich_dist.events import Notice, emit
from enrich_dist.remedies import DOWNLOAD_AGAIN
from enrich_dist.sources.columns import resolve_columns
from enrich_dist.sources.delimited import Records
from enrich_dist.sources.name_records import LAYOUT, OWN, Summary, names_of
from enrich_dist.sources.parquet import open_parquet, open_text_table
from enrich_dist.sources.part_files import PartFiles
from enrich_dist.sources.recipient_files import rebatch
from enrich_dist.sources.source_file import SourceFile
from enrich_dist.sources.table_file import open_table
from enrich_dist.sources.text_file import csv_members

_MAX_NAMES: Final = 50
"""Names of a kind per identifier, the most frequent ones. More are a sign of an identifier that many organisations
share, such as that of miscellaneous foreign awardees."""

_HISTORY: Final = """
    create temp table history as
    select uei, duns, name, kind, min(least(first_seen, last_seen)) as first_seen,
           max(greatest(first_seen, last_seen)) as last_seen, sum("rows")::bigint as "rows"
    from staged group by uei, duns, kind, name
"""
_LIMITED: Final = f"""
    delete from history using (
        select uei, duns, kind, name from history
        semi join (select uei, duns, kind from history group by all having count(*) > {_MAX_NAMES}) many
            on history.uei is not distinct from many.uei and history.duns is not distinct from many.duns
               and history.kind = many.kind
        qualify row_number() over (partition by uei, duns, kind order by "rows" desc, name) > {_MAX_NAMES}
    ) surplus
    where history.uei is not distinct from surplus.uei and history.duns is not distinct from surplus.duns
          and history.kind = surplus.kind and history.name = surplus.name
"""
_SORTED: Final = "from history order by uei nulls last, duns, kind, name"
_ROW_GROUP_ROWS: Final = 100_000
_SUFFIXES: Final = (".parquet", ".pq")


@dataclass(frozen=True)
class NameInput:
    """A file, folder or pattern. ``member``: a file in a zip, or a sheet; ``columns``: our column to its header."""

    location: str | Path
    member: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)


@dataclass
class NameTable:
    """The names in the table ``history`` of a connection, with the columns of ``schema.NAME_HISTORY``.

    ``summary``: what was read. ``recipients``: recipients that got further names so far.
    """

    connection: duckdb.DuckDBPyConnection
    summary: Summary
    recipients: int = 0

    def counts(self) -> dict[str, int]:
        """Return what was read, the names, the organisations, and those with several names of their own."""
        [(names, organisations, renamed)] = self.connection.execute(f"""
            select coalesce(sum(names), 0)::bigint, count(*), count(*) filter (own > 1)
            from (select count(*) as names, count(*) filter (kind = '{OWN}') as own from history group by uei, duns)
        """).fetchall()
        return {
            **asdict(self.summary),
            "names": names,
            "organisations": organisations,
            "with_several_names": renamed,
            "recipients": self.recipients,
        }

    def write(self, out: Path) -> None:
        """Write the names as a Parquet file, sorted by identifier, kind and name."""
        with (
            atomic_path(out.absolute()) as temporary,
            pq.ParquetWriter(temporary, schema.NAME_HISTORY, compression="zstd") as writer,
        ):
            for batch in rebatch(iter(self.connection.sql(_SORTED).to_arrow_reader(_ROW_GROUP_ROWS)), _ROW_GROUP_ROWS):
                writer.write_table(pa.Table.from_batches([batch]).cast(schema.NAME_HISTORY))


class NameHistory:
    """The files of some inputs. Raises ``SourceError`` where a location has no file."""

    def __init__(self, inputs: Sequence[NameInput]) -> None:
        self._files = [(file, given) for given in inputs for file in PartFiles(given.location).files]

    @property
    def files(self) -> list[SourceFile]:
        """Return the files."""
        return [file for file, _ in self._files]

    def check(self) -> None:
        """Raise ``SourceError`` unless every file can be opened and has the columns."""
        for file, given in self._files:
            with closing(_tables(file, given)) as tables:
                next(tables)

    def digest(self) -> str:
        """Return a digest of the names. It does not depend on the order of the files."""
        files = (
            text_digest(file.digest(), given.member or "", document_digest(dict(given.columns)))
            for file, given in self._files
        )
        return text_digest("name history", *sorted(files)) if self._files else ""

    @contextmanager
    def open(self, scratch: Path) -> Iterator[NameTable]:
        """Read all files once, with a ``Notice`` for each. Raises ``SourceError`` for a file without any name."""
        reader = _Reader(self._files)
        with connect(scratch=scratch) as connection:
            execute_on_batches(connection, _HISTORY, schema.NAME_HISTORY, reader.batches())
            connection.execute(_LIMITED)
            yield NameTable(connection, reader.summary)


def _tables(file: SourceFile, given: NameInput) -> Generator[tuple[Records, dict[str, int]], None, None]:
    """Yield the tables of a file with the positions of their columns; of a zip, those that have the columns."""
    if open_parquet(file, given.member) is not None:
        with open_text_table(file) as table:
            yield table, resolve_columns(table.header, given.columns, LAYOUT, file)
        return
    members: Sequence[str | None] = [given.member] if given.member else csv_members(file) or [None]
    refused, found = None, False
    for member in members:
        with open_table(file, member, given.columns) as table:
            try:
                positions = resolve_columns(table.header, given.columns, LAYOUT, file)
            except SourceError as error:
                refused = refused or error
                continue
            found = True
            yield table, positions
    if not found and refused is not None:
        raise refused


class _Reader:
    """Reads the names of all files once."""

    def __init__(self, files: Sequence[tuple[SourceFile, NameInput]]) -> None:
        self._files = files
        self.summary = Summary()

    def batches(self) -> Iterator[pa.RecordBatch]:
        for number, (file, given) in enumerate(self._files, start=1):
            before, named = self.summary.rows, False
            for table, positions in _tables(file, given):
                for block in table.blocks():
                    names = names_of(block, positions, self.summary)
                    named = named or len(names) > 0
                    yield from names.to_batches()
                self.summary.rows += len(table.bad_records)
                self.summary.rows_unreadable += len(table.bad_records)
            rows = self.summary.rows - before
            if not named:
                raise _nameless(file, rows)
            self.summary.files += 1
            emit(Notice(f"Names of {file.name} (file {number} of {len(self._files)}): {rows:,} rows read."))


def _nameless(file: SourceFile, rows: int) -> SourceError:
    problem = f"none of its {rows:,} rows has a name and a valid UEI or DUNS number."
    return SourceError(problem, path=file, remedy=DOWNLOAD_AGAIN)


def write_names(locations: Sequence[str | Path], out: Path) -> dict[str, int]:
    """Write the names in some files as a Parquet file; return ``NameTable.counts``.

    Raises ``SourceError`` for an input that is not usable, and ``SettingsError`` where ``out`` exists and is no earlier
    output, or is an input.
    """
    if out.suffix.lower() not in _SUFFIXES:
        raise SettingsError(f"--out: {out} does not end in .parquet.", remedy="Choose a name that ends in .parquet.")
    history = NameHistory([NameInput(location) for location in locations])
    inputs = [file.path for file in history.files if file.path is not None]
    require_replaceable(out, option="--out", is_ours=_is_ours, inputs=inputs)
    history.check()
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="enrich_dist_names_") as scratch, history.open(Path(scratch)) as names:
        names.write(out)
        return names.counts()


def _is_ours(path: Path) -> bool:
    try:
        return bool(pq.read_schema(path).equals(schema.NAME_HISTORY))
    except pa.ArrowException:
        return False
