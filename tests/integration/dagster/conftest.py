"""The Dagster instance that the shared sample runs left."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from dagster_defs.launch import open_instance
from tests.conftest import SampleRuns


@pytest.fixture
def instance(sample_runs: SampleRuns) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance that the runs left."""
    with open_instance(sample_runs.work_dir / "dagster") as opened:
        yield opened
