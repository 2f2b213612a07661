"""The Dagster instance of the shared sample runs."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from dagster_defs.launch import open_instance
from tests.conftest import SampleRuns


@pytest.fixture
def instance(sample_runs: SampleRuns) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance of the runs."""
    with open_instance(sample_runs.work_dir / "dagster") as opened:
        yield opened
