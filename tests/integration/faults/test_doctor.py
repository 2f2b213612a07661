"""``doctor`` and ``checkpoints`` after a failed run with lost workers, and with damaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from enrich_dist.cluster.client import open_client
from enrich_dist.errors import FarmError
from enrich_dist.farm.attempts import AttemptLedger, FailureKind
from enrich_dist.farm.diagnosis import REMEDIES, ChunkState, examine
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.lock import locked
from tests.conftest import REPOSITORY, enrich_dist, run_steps
from tests.integration.faults.test_farm_failures import HarmedPipeline, prepare
from tests.support.checkpoint_files import data_path
from tests.support.known_case import settings
from tests.unit.store.test_checkpoints import write

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> HarmedPipeline:
    """A run that was given up: chunk 2 loses its worker every time."""
    directory = tmp_path_factory.mktemp("failed")
    pipeline = prepare(directory, "kill", times=99)
    with open_client(Settings(), directory / "dask") as client, pytest.raises(FarmError):
        pipeline.farm_chunks(lambda: client)
    return pipeline


def command_output(pipeline: Pipeline, *command: str) -> tuple[int, str]:
    """Run a command on the run's directory; return its exit code and output."""
    done = enrich_dist(*command, "--set", f"paths.work_dir={pipeline.settings.paths.work_dir}", COLUMNS="200")
    return done.returncode, done.stdout + done.stderr


def test_doctor_names_failed_chunk_and_remedy(failed: HarmedPipeline) -> None:
    findings = examine(failed.directory)
    assert [chunk.chunk_id for chunk in findings.chunks if chunk.state is ChunkState.FAILED] == [2]
    assert findings.holder is None

    code, output = command_output(failed, "doctor")
    assert code == 0
    assert "1 failed" in output
    assert "Check the worker's log" in output
    assert "enrich-dist doctor 2" in output
    assert "Run the same command again" in output

    code, output = command_output(failed, "doctor", "2")
    assert code == 0
    assert output.count("(crash, counted)") == 3
    assert "The chunk is given up" in output
    assert "KilledWorker" in output


def test_unplanned_chunk_is_refused(failed: HarmedPipeline) -> None:
    code, output = command_output(failed, "doctor", "99")
    assert code == 1
    assert "no chunk 99; its chunks are 0 to 5" in output


def test_running_chunk_needs_active_run(failed: HarmedPipeline) -> None:
    ledger = AttemptLedger(failed.directory.attempts)
    key = next(chunk.checkpoint_key for chunk in examine(failed.directory).chunks if chunk.chunk_id == 2)
    with ledger.attempt(key, 9, "tcp://worker"):
        assert examine(failed.directory).chunks[2].state is ChunkState.FAILED
        with locked(failed.directory.root, run_id="x", what="a run"):
            findings = examine(failed.directory)
    assert findings.chunks[2].state is ChunkState.RUNNING
    assert findings.holder is not None
    assert findings.holder["what"] == "a run"


@pytest.mark.parametrize(
    "harm", ["flip", *(pytest.param(harm, marks=pytest.mark.long) for harm in ("cut", "empty", "missing"))]
)
def test_damage_is_reported(tmp_path: Path, client: Client, harm: str) -> None:
    pipeline = run_steps(settings(tmp_path), lambda: client)
    store = CheckpointStore(pipeline.directory.checkpoints)
    path = data_path(store, pipeline.tasks()[3].checkpoint_key)
    data = bytearray(path.read_bytes())
    match harm:
        case "flip":
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "empty":
            path.write_bytes(b"")
        case "missing":
            path.unlink()

    code, output = command_output(pipeline, "checkpoints", "verify")

    assert code == 1
    assert "Chunk 3: " in output
    assert "5 valid, 1 damaged, 0 missing" in output


@pytest.mark.long
def test_only_unreferenced_files_are_removed(tmp_path: Path, client: Client) -> None:
    pipeline = run_steps(settings(tmp_path), lambda: client)
    foreign = {"notes.json", f"{'0' * 64}.json", ".tmp-notes"}
    for name in foreign:
        (pipeline.directory.checkpoints / name).write_text("of others", "utf-8")
    before = {path.name for path in pipeline.directory.checkpoints.iterdir()}
    write(CheckpointStore(pipeline.directory.checkpoints))
    (pipeline.directory.checkpoints / ".tmp-0123456789ab.parquet").write_text("left behind", "utf-8")

    assert "4 files (0.0 MB) would be removed" in command_output(pipeline, "checkpoints", "gc", "--dry-run")[1]
    assert "4 files (0.0 MB) removed" in command_output(pipeline, "checkpoints", "gc")[1]

    assert {path.name for path in pipeline.directory.checkpoints.iterdir()} == before
    code, output = command_output(pipeline, "checkpoints", "verify")
    assert (code, "6 valid, 0 damaged, 0 missing" in output) == (0, True)
    _, output = command_output(pipeline, "checkpoints", "ls")
    assert output.count("finished") == 6


def test_empty_directory_shows_how_to_start(tmp_path: Path) -> None:
    run: dict[str, Any] = {"paths": {"work_dir": tmp_path / "work"}}
    code, output = command_output(Pipeline(Settings(**run), "none"), "doctor")
    assert code == 0
    assert "enrich-dist run" in output


def test_guide_lists_every_failure_remedy() -> None:
    handbook = (REPOSITORY / "docs" / "how-to" / "handle-failures.md").read_text("utf-8")
    assert set(REMEDIES) == set(FailureKind)
    for kind, advice in REMEDIES.items():
        assert f"| {kind} |" in handbook
        assert advice in handbook
