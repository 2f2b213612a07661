"""Likely matches after every chunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from enrich_dist.progress.partial_results import MatchedAwardCounter
from tests.support.candidates import EXACT_NAME, OTHER_STATE, SAME_TOWN, candidate, write_checkpoints


def test_each_company_is_counted_once(tmp_path: Path) -> None:
    good = {**EXACT_NAME, **SAME_TOWN}
    first, second = write_checkpoints(
        tmp_path / "c",
        [candidate(0, "a", **good), candidate(1, "b", **EXACT_NAME, **OTHER_STATE)],
        [candidate(0, "c", **good), candidate(2, "d", uei_agreement=1)],
    )
    counter = MatchedAwardCounter(np.array([1, 2, 3], dtype=np.int32))

    counts = [counter.awards()]
    for path in (first, second, second):
        counter.add([path])
        counts.append(counter.awards())

    assert counts == [0, 1, 4, 4]
