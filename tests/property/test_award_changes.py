"""Award changes: each award of two arbitrary results is counted exactly once."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_dist.runs.award_changes import CHANGES, KINDS, UNCHANGED, AwardChanges, compare_awards

TEXT = pa.string()
COLUMNS = {
    "award_id": TEXT, "company": TEXT, "award_title": TEXT, "agency": TEXT, "phase": TEXT, "award_year": pa.int32(),
    "contract": TEXT, "agency_tracking_number": TEXT, "company_key": TEXT, "match_status": TEXT, "match_method": TEXT,
    "match_probability": pa.float64(), "recipient_id": TEXT, "recipient_name": TEXT, "recipient_uei": TEXT,
    "recipient_city": TEXT, "recipient_state": TEXT,
}  # fmt: skip

# (award, status, recipient)
Result = list[tuple[int, str, str]]
SIDE = st.none() | st.tuples(
    st.sampled_from(["matched", "matched", "review", "unmatched"]), st.sampled_from(["r1", "r2", "r3"])
)
AWARDS = 16


@st.composite
def results(draw: st.DrawFn) -> tuple[Result, Result]:
    """Draw two results with mostly the same awards."""
    sides = draw(st.lists(st.tuples(SIDE, SIDE), min_size=AWARDS, max_size=AWARDS))
    older, newer = ([(n, *pair[at]) for n, pair in enumerate(sides) if pair[at] is not None] for at in (0, 1))
    return older, newer


def write(path: Path, awards: Result, spelling: str = "") -> None:
    """Write a result; ``spelling`` changes the digest of every row."""

    def row(number: int, status: str, recipient: str) -> dict[str, Any]:
        return {
            **dict.fromkeys(COLUMNS),
            "award_id": f"a{number}{spelling}",
            "contract": f"c{number}",
            "match_status": status,
            "recipient_id": recipient if status == "matched" else None,
            "recipient_uei": recipient.upper() if status == "matched" and recipient != "r3" else None,
        }

    rows = [row(*award) for award in awards]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(COLUMNS.items()))), path)


def compared(older: Result, newer: Result, spelling: str = "") -> tuple[AwardChanges, list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as folder:
        one, two, out = (Path(folder) / f"{name}.parquet" for name in ("one", "two", "out"))
        write(one, older)
        write(two, newer, spelling)
        found = compare_awards(one, two, scratch=Path(folder) / "scratch", examples=100, table=out)
        return found, pq.read_table(out).to_pylist()


def became(old: tuple[str, str] | None, new: tuple[str, str] | None) -> str:
    """Return the expected kind of change, given status and recipient on either side."""
    if new is None:
        return "only in the older"
    if old is None:
        return "only in the newer"
    if old[0] == new[0] == "matched":
        return "kept" if old[1] == new[1] else "changed"
    return "gained" if new[0] == "matched" else "lost" if old[0] == "matched" else "open"


@settings(max_examples=30)
@given(results(), st.sampled_from(["", "x"]))
def test_kinds_partition_all_awards(both: tuple[Result, Result], spelling: str) -> None:
    older, newer = both
    before, after = ({number: (status, recipient) for number, status, recipient in side} for side in (older, newer))
    expected = Counter(became(before.get(number), after.get(number)) for number in before.keys() | after.keys())

    found, table = compared(older, newer, spelling)

    assert found.counts == {kind: expected[kind] for kind in KINDS}
    assert found.common == len(before.keys() & after.keys())
    assert sum(found.moves.values()) == sum(found.found_by.values()) == found.common
    assert set(found.found_by) <= ({"contract"} if spelling else {"award_id"})
    assert Counter(row["change"] for row in table) == {k: n for k, n in expected.items() if k not in UNCHANGED and n}
    assert sum(found.by_method.values()) == sum(found.counts[kind] for kind in CHANGES)
    assert sum(row["awards"] for row in found.examples) == sum(found.counts[kind] for kind in CHANGES)


@settings(max_examples=10)
@given(results())
def test_swapped_results_swap_gains(both: tuple[Result, Result]) -> None:
    older, newer = both
    there, back = compared(older, newer)[0].counts, compared(newer, older)[0].counts

    assert (there["gained"], there["lost"]) == (back["lost"], back["gained"])
    assert [there[kind] for kind in ("changed", "kept", "open")] == [back[k] for k in ("changed", "kept", "open")]
    assert there["only in the older"] == back["only in the newer"]


def test_ambiguous_keys_join_no_award() -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "one.parquet", Path(folder) / "two.parquet"
        for path, ids in ((one, ("a", "b")), (two, ("c", "d"))):
            rows = [{**dict.fromkeys(COLUMNS), "award_id": i, "contract": "same", "match_status": "open"} for i in ids]
            pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(COLUMNS.items()))), path)

        found = compare_awards(one, two, scratch=Path(folder), examples=5, table=None)

    assert (found.common, found.counts["only in the older"], found.counts["only in the newer"]) == (0, 2, 2)
