"""Local workers, and those that replace a lost one, are forked from one preloaded process."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from enrich_dist.cluster.client import open_client
from enrich_dist.settings import Settings

pytestmark = pytest.mark.cluster


def facts() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "preloaded": "enrich_dist.cluster.preload" in sys.modules,
        "environment": {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
        "ignores_interrupt": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
    }


def test_replaced_workers_have_same_parent(tmp_path: Path) -> None:
    with open_client(Settings(), tmp_path) as client:
        client.wait_for_workers(2, timeout=60)
        before = list(client.run(facts).values())
        psutil.Process(before[0]["pid"]).kill()
        deadline = time.monotonic() + 60
        while True:
            after = [found for found in client.run(facts, on_error="ignore").values() if isinstance(found, dict)]
            if len(after) == 2 and before[0]["pid"] not in {found["pid"] for found in after}:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)

    assert len({found["parent"] for found in before + after}) == 1
    assert before[0]["parent"] != os.getpid()
    for found in before + after:
        assert found["preloaded"]
        assert found["environment"] == {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        assert found["ignores_interrupt"]
