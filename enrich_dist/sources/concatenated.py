"""Several sources as one: their rows one after another, numbered consecutively.

Each source has its own columns and column map; a column that it lacks is null in its rows. The rejects name each source
and its own row numbers. Does not remove recipients that several sources contain (``results.reduce``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.core.files import document_digest, text_digest
from enrich_dist.sources.columns import ColumnHeaders, merge_headers
from enrich_dist.sources.protocol import RawBatch, ReadOptions, Source


@dataclass(frozen=True)
class MappedSource:
    """One of several sources. ``columns``: its own column map, which takes precedence over the common one."""

    source: Source
    columns: Mapping[str, str | None]

    def options(self, options: ReadOptions) -> ReadOptions:
        """Return the options with the merged column map."""
        return replace(options, column_map={**options.column_map, **self.columns})


class ConcatenatedSources(Source):
    """Several sources, in the given order."""

    def __init__(self, sources: Sequence[MappedSource]) -> None:
        self._sources = tuple(sources)
        names = [mapped.source.name for mapped in sources]
        self.name = ", ".join(names)
        self.where = ", ".join(mapped.source.where for mapped in sources)
        # Distinguishes files of the same name in the rejects.
        repeats = Counter(names)
        self._suffixes = [f" (input {number})" if repeats[name] > 1 else "" for number, name in enumerate(names, 1)]

    def check(self, options: ReadOptions) -> None:
        """See ``Source.check``."""
        for mapped in self._sources:
            mapped.source.check(mapped.options(options))

    def digest(self, options: ReadOptions) -> str:
        """Return the digest of all digests and column maps, in their order."""
        digests = (
            part
            for mapped in self._sources
            for part in (mapped.source.digest(mapped.options(options)), document_digest(dict(mapped.columns)))
        )
        return text_digest("many", *digests)

    def stream(self, options: ReadOptions) -> Generator[RawBatch, None, None]:
        """See ``Source.stream``. The last batch of each source may be shorter."""
        # The first source is opened at once, the others in turn, as each may hold a file or a connection.
        first = self._sources[0]
        return self._stream(first.source.stream(first.options(options)), options)

    def _stream(
        self, batches: Generator[RawBatch, None, None], options: ReadOptions
    ) -> Generator[RawBatch, None, None]:
        rows_before = 0
        for number, (mapped, suffix) in enumerate(zip(self._sources, self._suffixes, strict=True)):
            if number:
                batches = mapped.source.stream(mapped.options(options))
            last_row = rows_before
            with closing(batches):
                for batch in batches:
                    shifted = _shift_rows(batch, rows_before, suffix)
                    last_row = max(last_row, shifted.last_row)
                    yield shifted
            rows_before = last_row

    def headers(self) -> list[str]:
        """Return the different column names of all sources."""
        return list(dict.fromkeys(header for mapped in self._sources for header in mapped.source.headers()))

    def columns(self, options: ReadOptions) -> ColumnHeaders:
        """Return the headers of all sources, each with its own column map."""
        found = [mapped.source.columns(mapped.options(options)) for mapped in self._sources]
        return merge_headers(found, options.layout)

    def row_count(self) -> tuple[int, bool]:
        """Return the sum; exact if all counts are."""
        counts = [mapped.source.row_count() for mapped in self._sources]
        return sum(rows for rows, _ in counts), all(exact for _, exact in counts)

    def close(self) -> None:
        """See ``Source.close``."""
        for mapped in self._sources:
            mapped.source.close()


def _shift_rows(batch: RawBatch, rows: int, suffix: str) -> RawBatch:
    return replace(
        batch,
        source_rows=pc.add(batch.source_rows, pa.scalar(rows, pa.int64())),
        bad_records=[replace(record, source_row=record.source_row + rows) for record in batch.bad_records],
        row_ranges=tuple(
            item._replace(first_row=item.first_row + rows, name=item.name + suffix) for item in batch.row_ranges
        ),
    )
