"""One run at a time per work directory: a second run is refused, and a dead process holds no lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from enrich_dist.errors import BusyError
from enrich_dist.store.lock import HOLDER_FILE, LOCK_FILE, locked
from tests.conftest import enrich_dist
from tests.support.known_case import write_inputs

_HOLD = """
import sys, time
from pathlib import Path
from enrich_dist.store.lock import locked
with locked(Path(sys.argv[1]), run_id="first", what="the first run"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the work directory."""
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_run_is_refused(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(BusyError, match=rf"'the first run' \(process {holder.pid} on .*, since 20.*-dir") as refused,
        locked(tmp_path, run_id="second", what="x"),
    ):
        raise AssertionError("two hold the lock")
    assert refused.value.exit_code == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_lock_of_dead_process_is_free(tmp_path: Path, holder: subprocess.Popen[str], how: signal.Signals) -> None:
    os.kill(holder.pid, how)
    holder.wait(timeout=30)
    assert (tmp_path / HOLDER_FILE).exists(), "it died without tidying up"

    with locked(tmp_path, run_id="second", what="x"):
        assert (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / HOLDER_FILE).exists()


def test_lock_is_reentrant_until_released(tmp_path: Path) -> None:
    with locked(tmp_path, run_id="one", what="x"):
        with locked(tmp_path, run_id="one", what="x"):
            pass
        with pytest.raises(BusyError), locked(tmp_path, run_id="two", what="x"):
            pass
    with locked(tmp_path, run_id="two", what="x"):
        pass


@pytest.mark.long
@pytest.mark.parametrize("command", ["run", "rejudge"])
def test_commands_that_write_are_refused(tmp_path: Path, holder: subprocess.Popen[str], command: str) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    values = [f"inputs.awards={awards}", f"inputs.recipients={recipients}", f"paths.work_dir={tmp_path}"]

    finished = enrich_dist(command, *(part for value in values for part in ("--set", value)))

    assert finished.returncode == 1
    assert f"is in use by 'the first run' (process {holder.pid}" in finished.stderr.replace("\n", " ")
    assert not (tmp_path / "steps").exists()
