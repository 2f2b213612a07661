"""Runs with checkpoints in another directory or in a real object store: damage, resume, sharing, and commands.

Workers are real processes; calls of the matcher are counted.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from enrich_dist.cluster.client import open_client
from enrich_dist.core.storage import LOCATION_FILE, Storage
from enrich_dist.errors import StorageError
from enrich_dist.events import Notice, listening
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import CheckpointStore, candidates_name, counts_name, record_name
from enrich_dist.store.run_directory import StepReport
from enrich_dist.store.status import all_chunks_finished, read_status
from tests.conftest import enrich_dist, run_steps
from tests.integration.faults.test_farm_failures import CHUNKS, HarmedPipeline, calls
from tests.support.known_case import settings, write_inputs
from tests.support.object_store import SECRET_KEY, ObjectStore, faulty
from tests.support.published import published_bytes

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, client: Client) -> dict[str, str]:
    """Return the published bytes of a run with checkpoints in its work directory."""
    run = settings(tmp_path_factory.mktemp("undisturbed"))
    run_steps(run, lambda: client)
    return published_bytes(run.paths.work_dir)


@pytest.fixture(params=["directory", pytest.param("object store", marks=pytest.mark.long)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "directory":
        return str(tmp_path / "elsewhere")
    store: ObjectStore = request.getfixturevalue("store")
    return store.uri(f"runs/{tmp_path.name}")


def prepared(
    folder: Path, location: str | None, harm: str = "none", times: int = 0, work: str = "work", **values: Any
) -> HarmedPipeline:
    """Run the steps before the farm; the matcher counts its calls and injects ``harm``."""
    paths = {"work_dir": folder / work, "checkpoints": location}
    run = settings(folder, paths=paths, inputs=write_inputs(folder / "inputs"), **values)
    pipeline = HarmedPipeline(run, folder / f"ledger-{work}", harm, times)
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    return pipeline


def finish(pipeline: Pipeline, client: Client) -> StepReport:
    """Run the remaining steps; return the report of the farm."""
    report = pipeline.farm_chunks(lambda: client)
    pipeline.enrich_awards()
    pipeline.publish_awards()
    return report


def counted(folder: Path, work: str = "work") -> dict[int, int]:
    """Return the calls of the matcher by chunk."""
    (folder / "ledger").unlink(missing_ok=True)
    (folder / "ledger").symlink_to(folder / f"ledger-{work}")
    return {int(row) // 10: count for row, count in calls(folder).items()}


def test_only_damaged_checkpoint_is_recomputed(
    tmp_path: Path, client: Client, undisturbed: dict[str, str], location: str
) -> None:
    pipeline = prepared(tmp_path, location)
    finish(pipeline, client)
    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert not pipeline.directory.checkpoints.exists()
    assert counted(tmp_path) == dict.fromkeys(range(CHUNKS), 1)

    storage = CheckpointStore(location).storage
    keys = [task.checkpoint_key for task in pipeline.tasks()]
    flip(storage, candidates_name(keys[0]))
    storage.put(counts_name(keys[1]), storage.get(counts_name(keys[1]))[:-9])
    storage.put(record_name(keys[2]), b"")
    storage.delete(candidates_name(keys[3]))
    storage.delete(record_name(keys[4]))
    notices: list[str] = []
    with listening(lambda event: notices.append(event.message) if isinstance(event, Notice) else None):
        report = finish(pipeline, client)

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert counted(tmp_path) == {**dict.fromkeys(range(5), 2), 5: 1}
    assert (report.numbers["checkpoints_damaged"], report.numbers["chunks_computed"]) == (4, 5)
    reported = [notice for notice in notices if "is not valid and its chunk is computed again" in notice]
    assert [key for key in keys if any(key in notice for notice in reported)] == keys[:4]

    # The checkpoints are valid again: nothing is computed, and the reduce step reads them.
    report = finish(pipeline, client)
    assert report.reused
    assert counted(tmp_path) == {**dict.fromkeys(range(5), 2), 5: 1}


def flip(storage: Storage, name: str) -> None:
    data = bytearray(storage.get(name))
    data[len(data) // 2] ^= 1
    storage.put(name, bytes(data))


@pytest.mark.long
def test_swapped_checkpoints_are_recomputed(tmp_path: Path, client: Client, undisturbed: dict[str, str]) -> None:
    pipeline = prepared(tmp_path, None)
    finish(pipeline, client)
    storage = CheckpointStore(pipeline.checkpoint_location).storage
    one, other = (task.checkpoint_key for task in pipeline.tasks()[1:3])
    for name in (candidates_name, counts_name, record_name):
        first, second = storage.get(name(one)), storage.get(name(other))
        storage.put(name(one), second)
        storage.put(name(other), first)

    finish(pipeline, client)

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert counted(tmp_path) == {0: 1, 1: 2, 2: 2, 3: 1, 4: 1, 5: 1}


@pytest.mark.long
def test_killed_worker_loses_no_stored_checkpoint(
    tmp_path: Path, store: ObjectStore, undisturbed: dict[str, str]
) -> None:
    pipeline = prepared(tmp_path, store.uri(f"killed/{tmp_path.name}"), "kill", times=1)
    with open_client(Settings(), tmp_path / "dask") as own:
        report = finish(pipeline, own)

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert counted(tmp_path)[2] == 2
    assert sorted(counted(tmp_path)) == list(range(CHUNKS))
    assert report.numbers["failed_attempts_crash"] == 1


@pytest.mark.long
def test_work_directories_share_a_location(
    tmp_path: Path, client: Client, undisturbed: dict[str, str], location: str
) -> None:
    first = prepared(tmp_path, location, work="first")
    finish(first, client)
    same = prepared(tmp_path, location, work="same")
    assert finish(same, client).reused
    assert counted(tmp_path, "same") == {}
    assert published_bytes(same.settings.paths.work_dir) == undisturbed

    # A different chunk size gives different keys; the first checkpoints stay.
    other = prepared(tmp_path, location, work="other", chunk_size=30)
    finish(other, client)
    before = CheckpointStore(location).storage.list()
    refused = command(other, "checkpoints", "gc")
    listed = command(other, "checkpoints", "gc", "--dry-run")

    assert (refused[0], listed[0]) == (1, 0)
    assert "18 files" in refused[1]
    assert "--shared" in refused[1]
    assert all(record_name(task.checkpoint_key) in listed[1] for task in first.tasks())
    assert CheckpointStore(location).storage.list() == before
    assert finish(first, client).reused

    assert "18 files" in command(other, "checkpoints", "gc", "--shared")[1]
    assert {entry.name.split(".")[0] for entry in CheckpointStore(location).storage.list()} == {
        *(task.checkpoint_key for task in other.tasks()),
        LOCATION_FILE.split(".")[0],
    }
    assert finish(other, client).reused
    assert "0 files (0.0 MB) removed" in command(other, "checkpoints", "gc")[1]


@pytest.mark.long
def test_failing_store_requests_change_nothing(
    tmp_path: Path, client: Client, store: ObjectStore, undisturbed: dict[str, str]
) -> None:
    requests = itertools.count(1)
    with faulty(store, lambda method, path: next(requests) % 10 == 0) as way:
        pipeline = prepared(tmp_path, store.uri(f"tenth/{tmp_path.name}", port=way.port))
        report = finish(pipeline, client)
        assert way.failed >= 10

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert report.numbers["failed_attempts"] == 0
    assert counted(tmp_path) == dict.fromkeys(range(CHUNKS), 1)


@pytest.mark.long
def test_concurrent_runs_share_a_location(tmp_path: Path, undisturbed: dict[str, str], location: str) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    values = [f"inputs.awards={awards}", f"inputs.recipients={recipients}", f"paths.checkpoints={location}"]
    values += ["chunk_size=10", "match_rate_threshold=0.5", "cluster.n_workers=1"]

    def run(work: Path) -> int:
        return enrich_dist(
            "run", "--work-dir", work, *(part for value in values for part in ("--set", value))
        ).returncode

    works = [tmp_path / "one", tmp_path / "two"]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, works)) == [0, 0]

    assert [published_bytes(work) for work in works] == [undisturbed, undisturbed]
    found, damaged = CheckpointStore(location).find(CheckpointStore(location).recorded())
    assert (len(found), damaged) == (CHUNKS, [])


def command(pipeline: Pipeline, *arguments: str) -> tuple[int, str]:
    """Run a command with only the work directory set; return its exit code and output."""
    done = enrich_dist(*arguments, "--set", f"paths.work_dir={pipeline.settings.paths.work_dir}", COLUMNS="400")
    return done.returncode, done.stdout + done.stderr


@pytest.mark.long
def test_command_line_manages_store_hides_secret(tmp_path: Path, client: Client, store: ObjectStore) -> None:
    pipeline = prepared(tmp_path, location := store.uri(f"commands/{tmp_path.name}"))
    finish(pipeline, client)
    storage = CheckpointStore(location).storage
    key = pipeline.tasks()[3].checkpoint_key

    assert command(pipeline, "checkpoints", "ls")[1].count("finished") == CHUNKS
    assert command(pipeline, "checkpoints", "verify") == (0, "6 valid, 0 damaged, 0 missing\n")
    assert all_chunks_finished(pipeline.directory)

    code, output = command(pipeline, "rejudge")
    assert code == 1
    assert f"Add --set 'paths.checkpoints={location}'." in output
    code, output = command(
        pipeline, "rejudge", "--set", f"paths.checkpoints={location}", "--set", "match_rate_threshold=0.5"
    )
    assert code == 0, output

    flip(storage, candidates_name(key))
    code, output = command(pipeline, "checkpoints", "verify")
    assert code == 1
    assert f"Chunk 3: {storage.where(candidates_name(key))} is not the file that was written" in output
    assert "5 valid, 1 damaged, 0 missing" in output

    storage.delete(record_name(key))
    assert "5 of 6 finished" in command(pipeline, "status")[1]
    assert read_status(pipeline.directory).chunks_done == CHUNKS - 1
    assert "1 waiting" in command(pipeline, "doctor")[1]
    assert "Not started." in command(pipeline, "doctor", "3")[1]

    texts = [path.read_bytes() for path in pipeline.directory.root.rglob("*") if path.is_file()]
    assert texts
    assert not [text for text in texts if SECRET_KEY.encode() in text]
    assert not [entry for entry in storage.list() if SECRET_KEY.encode() in storage.get(entry.name)]


@pytest.mark.long
def test_unusable_location_is_refused_at_start(tmp_path: Path, store: ObjectStore) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    values = [f"inputs.awards={awards}", f"inputs.recipients={recipients}", f"paths.work_dir={tmp_path / 'work'}"]
    values.append(f"paths.checkpoints={store.uri('p', bucket='nowhere')}")

    finished = enrich_dist("run", *(part for value in values for part in ("--set", value)), COLUMNS="1000")

    assert finished.returncode == 2
    assert "Create the bucket, or correct its name in the URI." in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "work").exists()

    pipeline = Pipeline(
        settings(tmp_path, paths={"work_dir": tmp_path / "work", "checkpoints": store.uri("p", bucket="nowhere")}), "x"
    )
    with pytest.raises(StorageError):
        pipeline.ingest_awards()
    assert not (tmp_path / "work" / "awards").exists()
