"""Sample the recipients, spread over the source where it permits.

A local Parquet file is sampled from row groups spread evenly over it. A file with one row group, and sources that can
only be read from the beginning (CSV, compressed files, database tables, several sources), are sampled at the beginning.
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

from enrich_dist.core.owned_files import remove_created, temporary_name
from enrich_dist.sources.parquet import ParquetSource
from enrich_dist.sources.protocol import Source
from enrich_dist.sources.source_file import SourceFile, translate_read_errors

_GROUPS: Final = 8
_BUFFER_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Sample:
    """``source``: its first rows are the sample; ``places``: parts of the file that they come from."""

    source: Source
    places: int


@contextmanager
def open_sample(source: Source, rows: int, scratch: Path) -> Iterator[Sample]:
    """Yield a sample of ``rows`` rows of ``source``; its file in ``scratch`` is removed afterwards."""
    if not isinstance(source, ParquetSource) or source.file.path is None:
        yield Sample(source, 1)
        return
    with translate_read_errors(source.file):
        chosen = _row_groups(source.file.path, rows)
    if len(chosen) < 2:
        yield Sample(source, 1)
        return
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / temporary_name(".parquet")
    try:
        with translate_read_errors(source.file):
            _copy(source.file.path, copy, chosen)
        yield Sample(ParquetSource(SourceFile(copy)), len(chosen))
    finally:
        remove_created(copy)


def _row_groups(path: Path, rows: int) -> dict[int, int]:
    """Return the rows to take from each row group; empty where the sample is the whole file."""
    metadata = pq.read_metadata(path)
    if metadata.num_rows <= rows:
        return {}
    count = min(_GROUPS, metadata.num_row_groups, rows)
    # The middle of each of as many equal parts.
    chosen = np.unique(((np.arange(count) + 0.5) * metadata.num_row_groups / count).astype(int)).tolist()
    return _shares(rows, {group: metadata.row_group(group).num_rows for group in chosen})


def _shares(rows: int, sizes: dict[int, int]) -> dict[int, int]:
    """Distribute ``rows`` as evenly as the sizes allow."""
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
