"""What goes in and out of a contestant's process: the two tables, one row per name; and answers in whole parts.

Inputs are Parquet files with the columns of ``COLUMNS``. Answers are a directory of Parquet files in ``SCHEMA``, one
per block of companies, each renamed into place when whole: what a process had before it was ended can be read. A
company that was asked and has no candidate has a row with a null ``right_id``. Does not cover more than one candidate
per company.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TEXTS: Final = ("id", "name", "address", "city", "state", "zip")
COLUMNS: Final = pa.schema(
    [*(pa.field(name, pa.string()) for name in TEXTS), pa.field("alternate_names", pa.list_(pa.string()))]
)
SCHEMA: Final = pa.schema(
    [
        pa.field("left_id", pa.string(), nullable=False),
        pa.field("right_id", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("accepted", pa.bool_()),
    ]
)
NONE: Final = -1
"""Number of the recipient where a name has no candidate."""


def read_side(path: Path) -> pa.Table:
    """One side as the measuring process wrote it."""
    return pq.read_table(path, schema=COLUMNS).combine_chunks()


def one_row_per_name(side: pa.Table) -> pa.Table:
    """The table with a row for each name, legal or alternate, under ``name``; an id's rows stand together.

    Names that are missing become empty text.
    """
    own = pc.fill_null(side["name"], "").to_pylist()
    others = side["alternate_names"].to_pylist()
    rows: list[int] = []
    names: list[str] = []
    for row, (name, alternates) in enumerate(zip(own, others, strict=True)):
        distinct = dict.fromkeys([name, *(other for other in alternates or [] if other)])
        rows.extend([row] * len(distinct))
        names.extend(distinct)
    exploded = side.drop_columns(["alternate_names"]).take(pa.array(rows, pa.int64()))
    return exploded.set_column(exploded.schema.get_field_index("name"), "name", pa.array(names, pa.string()))


def best_per_left(left_ids: pa.Array, right_ids: pa.Array, found: Ints, scores: Floats, threshold: float) -> pa.Table:
    """Answers in ``SCHEMA``: for each id in ``left_ids`` the best of its names' candidates, the earlier one in a tie.

    ``found`` holds row numbers of ``right_ids`` or ``NONE``, ``scores`` their scores, both aligned with ``left_ids``.
    """
    ids = np.asarray(left_ids.to_pylist(), dtype=object)
    ranked = np.where(found == NONE, -np.inf, scores)
    _, group = np.unique(ids.astype(str), return_inverse=True)
    order = np.lexsort((np.arange(len(ids)), -ranked, group))
    first = order[np.flatnonzero(np.diff(group[order], prepend=-1))]
    first.sort()
    has = found[first] != NONE
    right_rows = pa.array(np.where(has, found[first], 0), mask=~has)
    columns: dict[str, Any] = {
        "left_id": left_ids.take(pa.array(first)),
        "right_id": right_ids.take(right_rows),
        "score": pa.array(scores[first], mask=~has),
        "accepted": pa.array(has & (ranked[first] >= threshold)),
    }
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def write_part(directory: Path, answers: pa.Table) -> None:
    """Add a part to the answers."""
    directory.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    temporary = directory / f".{name}.tmp"
    pq.write_table(answers, temporary)
    temporary.replace(directory / f"{name}.parquet")


def read_answers(directory: Path) -> pa.Table:
    """All parts that are whole; no row where there is none."""
    parts = [pq.read_table(path, schema=SCHEMA) for path in sorted(directory.glob("*.parquet"))]
    return pa.concat_tables([SCHEMA.empty_table(), *parts]).combine_chunks()
