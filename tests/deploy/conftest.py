from __future__ import annotations

import pytest

from tests.deploy.tools import Tools, fetch


@pytest.fixture(scope="session")
def tools() -> Tools:
    return fetch()
