"""Candidates by company range: what the reduce scores, without any text, with one range in memory at a time.

Checkpoints hold the candidates of all companies, a file per chunk. ``CandidateParts.split`` copies the numbers of all
files into one temporary file per range of companies, because a candidate is scored within its company. Names and
addresses are read afterwards, for the rows that are published (``read_rows``). Does not cover the scores (``scoring``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.ordered_map import ordered_map
from enrich_dist.results.shared_identifiers import IDENTIFIED_COLUMNS
from enrich_dist.schema import Agreement
from enrich_dist.sources.shared_identifiers import KINDS

Ints = npt.NDArray[np.int64]

PART_ROWS = 250_000
"""Candidates of a range, about: 30 MB. A company is never divided."""
NUMBERS = pa.schema([column for column in schema.CANDIDATE if column.name not in schema.RECIPIENT.names[1:]])
"""Columns that are scored: all but the texts of the recipients."""
_TEXTS = [column.name for column in schema.CANDIDATE if column.type == pa.string()]
_SAMPLED_FILES = 8
_THREADS = 2


@dataclass(frozen=True)
class CandidateParts:
    """Candidates of some checkpoints.

    ``paths``: a file per range of companies, in ascending order; ``rows``: the number of candidates; ``identified``:
    ``shared_identifiers.IDENTIFIED_COLUMNS`` of those that agree on an identifier; ``shared``: by kind of identifier,
    the keys that agree with none; ``part_rows``: candidates of a range, about.
    """

    checkpoints: Sequence[Path]
    paths: Sequence[Path]
    rows: int
    identified: pa.Table
    shared: Mapping[str, Ints] = field(default_factory=dict)
    part_rows: int = PART_ROWS

    @classmethod
    def split(cls, checkpoints: Sequence[Path], directory: Path, part_rows: int | None = None) -> CandidateParts:
        """Write the numbers of the candidates into files of a new ``directory``."""
        part_rows = PART_ROWS if part_rows is None else part_rows
        bounds = _bounds(checkpoints, part_rows)
        directory.mkdir(parents=True)
        paths = [directory / f"{number:06d}.arrow" for number in range(len(bounds) + 1)]
        rows, identified = 0, [NUMBERS.empty_table().select(IDENTIFIED_COLUMNS)]

        def read(_: int, path: Path) -> tuple[pa.Table, pa.Table]:
            table = _read(path, NUMBERS.names).cast(NUMBERS)
            agrees = (table[f"{kind}_agreement"].to_numpy() == Agreement.AGREE for kind in KINDS)
            return table, table.select(IDENTIFIED_COLUMNS).filter(pa.array(np.logical_or(*agrees)))

        with ExitStack() as stack:
            writers = [stack.enter_context(pa.ipc.new_stream(path, NUMBERS)) for path in paths]
            for table, agreeing in ordered_map(read, checkpoints, threads=_THREADS, max_pending=_THREADS + 1):
                rows += len(table)
                identified.append(agreeing)
                cuts = [0, *np.searchsorted(table["company_id"].to_numpy(), bounds).tolist(), len(table)]
                for writer, begin, end in zip(writers, cuts[:-1], cuts[1:], strict=True):
                    writer.write_table(table.slice(begin, end - begin))
        return cls(checkpoints, paths, rows, pa.concat_tables(identified), part_rows=part_rows)

    def read(self) -> Iterator[pa.Table]:
        """Yield the candidates (``NUMBERS``) of each range of companies."""
        for path in self.paths:
            with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
                yield self.without_shared(reader.read_all().combine_chunks())

    def with_rows(self, added: pa.Table, path: Path) -> CandidateParts:
        """Return the parts with further candidates (``schema.CANDIDATE``), which are stored in this new file."""
        pq.write_table(added, path)
        parts = self.split([*self.checkpoints, path], path.with_suffix(".parts"), self.part_rows)
        return replace(parts, shared=self.shared)

    def read_rows(
        self, company_id: Ints, source_row: Ints, columns: Sequence[str] = schema.CANDIDATE.names
    ) -> pa.Table:
        """Return these columns of the candidates with these pairs of company and source row."""
        wanted = np.sort(_pair_keys(company_id, source_row))
        types = pa.schema([schema.CANDIDATE.field(name) for name in columns])

        def read(path: Path) -> pa.Table:
            pairs = _read(path, ["company_id", "source_row"])
            keys = _pair_keys(*(column.to_numpy() for column in pairs.columns))
            # A chunk is a range of source rows, so few of the pairs can be in it.
            here = wanted[slice(*np.searchsorted(wanted, (keys.min(), keys.max() + 1)))] if len(keys) else wanted[:0]
            if not len(here):
                return types.empty_table()
            found = here[np.minimum(np.searchsorted(here, keys), len(here) - 1)] == keys
            # Texts stay encoded until the rows are chosen: most rows are not.
            return (
                _read(path, columns, [name for name in columns if name in _TEXTS]).filter(pa.array(found)).cast(types)
            )

        with ThreadPoolExecutor(_THREADS) as pool:
            return self.without_shared(pa.concat_tables([types.empty_table(), *pool.map(read, self.checkpoints)]))

    def without_shared(self, table: pa.Table) -> pa.Table:
        """Return the candidates, in which shared identifiers are unknown."""
        for kind, keys in self.shared.items():
            if len(keys):
                at = table.schema.get_field_index(f"{kind}_agreement")
                is_shared = np.isin(table[f"{kind}_key"].to_numpy(), keys)
                values = np.where(is_shared, np.int8(Agreement.UNKNOWN), table.column(at).to_numpy())
                table = table.set_column(at, table.schema.field(at), pa.array(values))
        return table


def _bounds(checkpoints: Sequence[Path], part_rows: int) -> Ints:
    """Return the first company of each range but the first, by the companies of some of the files."""
    if not checkpoints:
        return np.zeros(0, dtype=np.int64)
    rows = sum(pq.read_metadata(path).num_rows for path in checkpoints)
    chosen = checkpoints[:: max(1, len(checkpoints) // _SAMPLED_FILES)]
    companies = np.concatenate([_read(path, ["company_id"])["company_id"].to_numpy() for path in chosen])
    if not len(companies):
        return np.zeros(0, dtype=np.int64)
    parts = -(-rows // part_rows)
    bounds = np.unique(np.quantile(companies, np.arange(1, parts) / parts, method="nearest")).astype(np.int64)
    return np.asarray(bounds[bounds > companies.min()])


def _read(path: Path, columns: Sequence[str], encoded: Sequence[str] = ()) -> pa.Table:
    # read_table prepares to read many files, which takes longer than reading this one.
    with pq.ParquetFile(path, read_dictionary=list(encoded)) as file:
        return file.read(columns=list(columns), use_threads=False).select(list(columns))


def _pair_keys(company_ids: Ints, source_rows: Ints) -> Ints:
    return np.asarray(source_rows << 27 | company_ids)
