"""Damaged and random inputs raise only errors of the project, and no row is lost.

``make fuzz`` draws a million inputs of the same targets and records them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.fuzz import RECORD, TARGETS, fuzz
from tests.conftest import REPOSITORY

BATCH = 2


@pytest.mark.parametrize("name", TARGETS)
@given(seed=st.integers(0, 2**64))
def test_any_input_is_handled(name: str, seed: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        fuzz(name, seed, BATCH, Path(directory))


def test_a_million_inputs_are_recorded() -> None:
    record = json.loads((REPOSITORY / RECORD).read_text("utf-8"))

    assert record["inputs"] == sum(target["inputs"] for target in record["targets"].values()) >= 1_000_000
    assert record["exceptions"] == 0
    assert set(record["targets"]) == set(TARGETS)
