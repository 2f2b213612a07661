from __future__ import annotations

import pytest

from tests.support.deploy_tools import Tools, fetch


@pytest.fixture(scope="session")
def tools() -> Tools:
    return fetch()
