"""A sample of the recipients, from all over their source where that permits.

A Parquet file on a disk is read from row groups spread evenly over it; what has one row group, and what can only be
read from its beginning (CSV, packed files, tables of a database, several sources as one), is sampled there. Covers
which rows. Does not cover what is found in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.sources.protocol import Source
from enrich_dist.sources.recipient_files import ParquetSource
from enrich_dist.sources.source_file import SourceFile, translate_read_errors

_GROUPS: Final = 8
_BUFFER_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Sample:
    """``source``: its first rows are the sample; ``places``: parts of the recipients that they come from."""

    source: Source
    places: int

    @property
    def spread(self) -> bool:
        """Whether it is more than the beginning."""
        return self.places > 1


@contextmanager
def sampled(source: Source, rows: int, scratch: Path) -> Iterator[Sample]:
    """The sample of ``rows`` rows of ``source``; what it needs of ``scratch`` is removed afterwards."""
    if not isinstance(source, ParquetSource) or source.file.path is None:
        yield Sample(source, 1)
        return
    with translate_read_errors(source.file):
        chosen = _row_groups(source.file.path, rows)
    if len(chosen) < 2:
        yield Sample(source, 1)
        return
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / "plan-sample.parquet"
    try:
        with translate_read_errors(source.file):
            _copy(source.file.path, copy, chosen)
        yield Sample(ParquetSource(SourceFile(copy)), len(chosen))
    finally:
        copy.unlink(missing_ok=True)


def _row_groups(path: Path, rows: int) -> dict[int, int]:
    """Row groups with the rows to take of each; empty where all of the file is wanted."""
    metadata = pq.read_metadata(path)
    if metadata.num_rows <= rows:
        return {}
    count = min(_GROUPS, metadata.num_row_groups, rows)
    # The middle of each of as many equal parts.
    chosen = np.unique(((np.arange(count) + 0.5) * metadata.num_row_groups / count).astype(int)).tolist()
    return _shares(rows, {group: metadata.row_group(group).num_rows for group in chosen})


def _shares(rows: int, sizes: dict[int, int]) -> dict[int, int]:
    """``rows`` dealt out as evenly as the sizes allow."""
    shares: dict[int, int] = {}
    left = rows
    for place, (group, size) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        shares[group] = min(size, -(-left // (len(sizes) - place)))
        left -= shares[group]
    return dict(sorted(shares.items()))


def _copy(source: Path, target: Path, chosen: dict[int, int]) -> None:
    with (
        pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file,
        pq.ParquetWriter(target, file.schema_arrow) as writer,
    ):
        for group, count in chosen.items():
            left = count
            for batch in file.iter_batches(batch_size=min(count, 65_536), row_groups=[group]):
                writer.write_table(pa.Table.from_batches([batch.slice(0, left)]))
                left -= min(left, len(batch))
                if not left:
                    break
