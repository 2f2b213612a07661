"""Several sources as one: their rows one after another, each found again in its own source.

Covers what differs between them: each has columns of its own, found by name or by a column map of its own, and what one
lacks is null in its rows. Rows are numbered through, and the rejects tell each source with its own numbers. Does not
drop recipients that several sources list: rows of one organisation are no rivals of each other (``result.reduce``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.core.files import document_digest, text_digest
from enrich_dist.sources.protocol import RawBatch, ReadOptions, Source


@dataclass(frozen=True)
class Entry:
    """One of several sources. ``columns``: its own column map, which is added to the common one; it wins."""

    source: Source
    columns: Mapping[str, str | None]

    def reading(self, reading: ReadOptions) -> ReadOptions:
        """How this one is read."""
        return replace(reading, column_map={**reading.column_map, **self.columns})


class ConcatenatedSources(Source):
    """Several sources, in the order given."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)
        self.name = ", ".join(entry.source.name for entry in entries)
        self.where = ", ".join(entry.source.where for entry in entries)
        times = Counter(entry.source.name for entry in entries)
        # Of one name in two directories, the rejects tell which is meant.
        self._suffixes = [
            f" (input {number})" if times[entry.source.name] > 1 else "" for number, entry in enumerate(entries, 1)
        ]

    def check(self, reading: ReadOptions) -> None:
        """As ``Source.check``, of each."""
        for entry in self._entries:
            entry.source.check(entry.reading(reading))

    def digest(self, reading: ReadOptions) -> str:
        """Of the digests of all, in their order, with their column maps."""
        return text_digest(
            "many",
            *(
                part
                for entry in self._entries
                for part in (entry.source.digest(entry.reading(reading)), document_digest(dict(entry.columns)))
            ),
        )

    def stream(self, reading: ReadOptions) -> Generator[RawBatch, None, None]:
        """As ``Source.stream``. The last batch of each source may be shorter."""
        # The first is opened at once; the others when it is their turn, as one may hold a file or a connection.
        first = self._entries[0]
        return self._stream(first.source.stream(first.reading(reading)), reading)

    def _stream(self, batches: Iterator[RawBatch], reading: ReadOptions) -> Generator[RawBatch, None, None]:
        before = 0
        for number, (entry, suffix) in enumerate(zip(self._entries, self._suffixes, strict=True)):
            if number:
                batches = entry.source.stream(entry.reading(reading))
            last = before
            with closing(batches):  # type: ignore[type-var]  # every stream is a generator
                for batch in batches:
                    moved = _moved(batch, before, suffix)
                    last = max(last, moved.last_row)
                    yield moved
            before = last

    def row_count(self) -> tuple[int, bool]:
        """The sum; exact where all are."""
        counts = [entry.source.row_count() for entry in self._entries]
        return sum(rows for rows, _ in counts), all(exact for _, exact in counts)

    def close(self) -> None:
        """As ``Source.close``, of each."""
        for entry in self._entries:
            entry.source.close()


def _moved(batch: RawBatch, rows: int, suffix: str) -> RawBatch:
    """The batch with its rows numbered on from ``rows``."""
    return replace(
        batch,
        source_rows=pc.add(batch.source_rows, pa.scalar(rows, pa.int64())),
        bad_records=[replace(record, source_row=record.source_row + rows) for record in batch.bad_records],
        parts=tuple(part._replace(first_row=part.first_row + rows, name=part.name + suffix) for part in batch.parts),
    )
