"""Statistics of the input columns: values that are missing or not understood, distinct values, examples.

They show a wrong column map. Counted while a source is read, over all rows; distinct values and examples are those of a
sample of every nth row, which is all rows up to ``SAMPLE_ROWS``. Neither depends on the size of the batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.core.files import read_json
from enrich_dist.core.tables import Table, make_table, percent
from enrich_dist.sources.columns import Layout, plain_header

SAMPLE_ROWS: Final = 20_000
FILE: Final = "columns.json"
"""The name of the statistics in the artifacts of the steps."""
_EXAMPLES: Final = 3
_SHOWN_CHARACTERS: Final = 40
_SHORT_CHARACTERS: Final = 18
_WARN_SHARE: Final = 0.1  # of the given values


@dataclass(frozen=True)
class ColumnStatistics:
    """A mapped column. ``header``: its name in the source. ``rows`` = null + not_understood + understood.

    ``distinct``: different texts in ``distinct_rows`` rows, exact if these are all. ``examples``: the most frequent
    texts of them. ``lost``: the first texts that were not understood.
    """

    column: str
    header: str
    rows: int
    null: int
    not_understood: int
    distinct: int
    distinct_rows: int
    examples: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True)
class SourceColumns:
    """The columns of a source; ``unmapped``: headers that have no meaning here."""

    mapped: tuple[ColumnStatistics, ...]
    unmapped: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the statistics as a JSON object."""
        return asdict(self)

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> SourceColumns:
        """Return the statistics of a JSON object."""
        texts = ("examples", "lost")
        mapped = [ColumnStatistics(**item | {name: tuple(item[name]) for name in texts}) for item in document["mapped"]]
        return cls(tuple(mapped), tuple(document["unmapped"]))

    def table(self, caption: str = "") -> Table:
        """Return a row for each column, those without meaning last."""
        rows = [
            (
                item.column,
                item.header,
                item.rows,
                item.null,
                item.not_understood,
                f"{item.distinct:,}"
                if item.distinct_rows == item.rows
                else f"{item.distinct:,} in {item.distinct_rows:,}",
                "; ".join(item.examples),
                "; ".join(item.lost),
            )
            for item in self.mapped
        ]
        head = (
            "column",
            "header",
            "rows",
            "null",
            "not understood",
            "distinct",
            "examples",
            "not understood: examples",
        )
        return make_table(head, [*rows, *(("not mapped", name, *[""] * 6) for name in self.unmapped)], caption)

    def short_table(self) -> Table:
        """Return a narrow row for each mapped column, for a terminal of 80 characters."""
        rows = [
            (
                item.column
                if plain_header(item.header) == plain_header(item.column)
                else f"{item.column}: {item.header}",
                percent(item.null / item.rows) if item.rows else "",
                item.not_understood,
                item.distinct,
                "".join(_shortened(text) for text in item.examples[:1]),
                "".join(_shortened(text) for text in item.lost[:1]),
            )
            for item in self.mapped
        ]
        return make_table(("column: header", "null", "lost", "distinct", "example", "lost, as"), rows)

    def warnings(self, layout: Layout) -> list[str]:
        """Return a sentence for each column of which a tenth is not understood, or empty although a run requires it."""
        required = {column for group in layout.required for column in group}
        found = []
        for item in self.mapped:
            given = item.rows - item.null
            where = f"the column '{item.header}' ({layout.name(item.column)})"
            if given and item.not_understood >= _WARN_SHARE * given:
                found.append(
                    f"In {where}, {item.not_understood:,} of {given:,} values "
                    f"({percent(item.not_understood / given)}) are not understood, for example '{item.lost[0]}'. "
                    f"Check {layout.setting_of(item.column)}."
                )
            elif not given and item.column in required:
                found.append(
                    f"All {item.rows:,} values in {where} are missing. Check {layout.setting_of(item.column)}."
                )
        return found


def _shortened(text: str) -> str:
    return text if len(text) <= _SHORT_CHARACTERS else f"{text[: _SHORT_CHARACTERS - 1]}…"


def read_columns(artifact: Path) -> SourceColumns:
    """Return the statistics that a step stored in its artifact."""
    return SourceColumns.of_document(read_json(artifact / FILE))


class Measured(NamedTuple):
    """Counts and sampled rows of a batch."""

    rows: int
    understood: dict[str, int]
    not_understood: dict[str, int]
    lost: dict[str, list[str]]
    sample: pa.Table


class ColumnTally:
    """Adds up the columns of a source."""

    def __init__(self) -> None:
        self._step = 1  # every nth row is sampled; only grows, so that an earlier value samples more rows
        self._rows = 0
        self._understood: dict[str, int] = {}
        self._not_understood: dict[str, int] = {}
        self._lost: dict[str, list[str]] = {}
        self._samples: list[pa.Table] = []

    def measure(
        self,
        source_rows: pa.Array,
        raw: Mapping[str, pa.Array],
        cleaned: Mapping[str, pa.Array],
        reasons: Mapping[str, pa.Array],
    ) -> Measured:
        """Return the counts of a batch, from any thread. ``raw`` and ``cleaned``: arrays by canonical column;
        ``reasons`` (string): why a value was lost, else null."""
        count = len(source_rows)
        # Some reasons are of values that were kept.
        lost = {
            name: pc.and_(pc.is_valid(reasons[name]), pc.is_null(cleaned[name]))
            for name in raw
            if name in reasons and reasons[name].null_count < count
        }
        lost_counts = {name: lost[name].true_count if name in lost else 0 for name in raw}
        return Measured(
            count,
            {name: count - cleaned[name].null_count for name in raw},
            lost_counts,
            {
                name: pc.unique(raw[name].filter(mask))[:_EXAMPLES].to_pylist()
                for name, mask in lost.items()
                if len(self._lost.get(name, ())) < _EXAMPLES
            },
            _every(self._step, pa.table({"": source_rows, **raw})),
        )

    def add(self, batch: Measured) -> None:
        """Add a batch, in the order of the rows."""
        self._rows += batch.rows
        for total, counts in ((self._understood, batch.understood), (self._not_understood, batch.not_understood)):
            for name, count in counts.items():
                total[name] = total.get(name, 0) + count
        for name, values in batch.lost.items():
            self._lost[name] = list(dict.fromkeys([*self._lost.get(name, ()), *values]))[:_EXAMPLES]
        self._samples.append(_every(self._step, batch.sample))
        while sum(map(len, self._samples)) > SAMPLE_ROWS:
            self._step *= 2
            self._samples = [_every(self._step, sample) for sample in self._samples]

    def result(self, headers: Mapping[str, str], unmapped: Sequence[str]) -> SourceColumns:
        """Return the statistics. ``headers``: of the canonical columns, in the order of the result."""
        sample = pa.concat_tables(self._samples, promote_options="default") if self._samples else pa.table({})
        mapped = [self._column(name, header, sample) for name, header in headers.items() if name in self._understood]
        return SourceColumns(tuple(mapped), tuple(unmapped))

    def _column(self, name: str, header: str, sample: pa.Table) -> ColumnStatistics:
        texts = sample[name].combine_chunks()
        if not pa.types.is_string(texts.type):
            texts = pc.binary_join(texts, "|")
        counted = pc.value_counts(texts.filter(pc.not_equal(texts, "")))
        counts = pa.table({"text": counted.field("values"), "count": counted.field("counts")})
        best = pc.select_k_unstable(counts, k=_EXAMPLES, sort_keys=[("count", "descending"), ("text", "ascending")])
        return ColumnStatistics(
            column=name,
            header=header,
            rows=self._rows,
            null=self._rows - self._understood[name] - self._not_understood[name],
            not_understood=self._not_understood[name],
            distinct=len(counts),
            distinct_rows=len(sample),
            examples=_shown(counts["text"].take(best).to_pylist()),
            lost=_shown(self._lost.get(name, [])),
        )


def _every(step: int, sample: pa.Table) -> pa.Table:
    """Return the rows whose number is a multiple of ``step``."""
    if step == 1:
        return sample
    return sample.take(pa.array(np.flatnonzero(sample[""].to_numpy() % step == 0)))


def _shown(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{text[:_SHOWN_CHARACTERS]}…" if len(text) > _SHOWN_CHARACTERS else text for text in texts)
