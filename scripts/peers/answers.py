"""Input and output files of a peer's process.

Inputs are Parquet files with the columns of ``COLUMNS``. Answers are a directory of Parquet files in ``SCHEMA``, one
per block of companies, each renamed into place when complete, so that answers written before a timeout can be read. A
company without a candidate has a row with a null ``right_id``. Does not cover several candidates per company.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

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
"""Row of the recipient where a name has no candidate."""


def read_side(path: Path) -> pa.Table:
    """Read one of the two input tables."""
    return pq.read_table(path, schema=COLUMNS).combine_chunks()


def one_row_per_name(side: pa.Table) -> pa.Table:
    """Return the table with one row per name, legal or alternate, in ``name``; rows of an id are adjacent.

    Missing names become empty strings.
    """
    own = pc.fill_null(side["name"], "").to_pylist()
    rows: list[int] = []
    names: list[str] = []
    for row, (name, alternates) in enumerate(zip(own, side["alternate_names"].to_pylist(), strict=True)):
        distinct = dict.fromkeys([name, *(other for other in alternates or [] if other)])
        rows.extend([row] * len(distinct))
        names.extend(distinct)
    exploded = side.drop_columns(["alternate_names"]).take(pa.array(rows, pa.int64()))
    return exploded.set_column(exploded.schema.get_field_index("name"), "name", pa.array(names, pa.string()))


def best_per_left(left_ids: pa.Array, right_ids: pa.Array, found: Ints, scores: Floats, threshold: float) -> pa.Table:
    """Return, in ``SCHEMA``, the best candidate of each left id over its names, and the earlier one in a tie.

    ``found`` contains rows of ``right_ids`` or ``NONE``; it and ``scores`` are aligned with ``left_ids``.
    """
    candidates = pa.table({"left_id": left_ids, "row": found, "score": scores})
    ranked = candidates.filter(pc.not_equal(candidates["row"], NONE)).sort_by([("score", "descending")])
    best = ranked.group_by("left_id", use_threads=False).aggregate([("row", "first"), ("score", "first")])
    answers = pa.table({"left_id": pc.unique(left_ids)}).join(best, "left_id").sort_by("left_id")
    score = answers["score_first"]
    accepted = pc.fill_null(pc.greater_equal(score, threshold), False)
    return pa.table([answers["left_id"], right_ids.take(answers["row_first"]), score, accepted], schema=SCHEMA)


def write_part(directory: Path, answers: pa.Table) -> None:
    """Add a file to the answers."""
    directory.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    temporary = directory / f".{name}.tmp"
    pq.write_table(answers, temporary)
    temporary.replace(directory / f"{name}.parquet")


def read_answers(directory: Path) -> pa.Table:
    """Read all complete files; an empty table if there is none."""
    parts = [pq.read_table(path, schema=SCHEMA) for path in sorted(directory.glob("*.parquet"))]
    return pa.concat_tables([SCHEMA.empty_table(), *parts]).combine_chunks()
