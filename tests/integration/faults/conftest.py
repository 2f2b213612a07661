"""Every test here is part of the fault suite (``make test-faults``)."""

from __future__ import annotations

from pathlib import Path

import pytest
from distributed import Client

from tests.conftest import run_steps
from tests.support.known_case import settings
from tests.support.published import published_bytes

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("faults")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, client: Client) -> dict[str, str]:
    """Return the published bytes of the known case without faults."""
    run = settings(tmp_path_factory.mktemp("undisturbed"))
    run_steps(run, lambda: client)
    return published_bytes(run.paths.work_dir)
