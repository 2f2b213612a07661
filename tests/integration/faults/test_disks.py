"""Disks that are full, become read-only or lose power: real file systems, mounted by the tests.

A full disk is a small tmpfs filled with a file. A power cut is an ext4 file system that is shut down without flushing
its journal, which drops everything that was not synced. Mounting needs root; otherwise these tests are skipped.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from distributed import Client

from enrich_dist.cluster.client import open_client
from enrich_dist.core.owned_files import TEMPORARY_PREFIX
from enrich_dist.errors import EnrichError, EnvironmentFailureError
from enrich_dist.events import Event, FarmProgress, listening
from enrich_dist.settings import Settings
from enrich_dist.store.artifacts import MANIFEST, open_verified
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import StepReport
from tests.conftest import enrich_dist
from tests.support.checkpoint_files import record_path
from tests.support.damaged import CHUNK_STARTS, HarmedPipeline, calls, each_once, finish, finished_chunks
from tests.support.known_case import settings, write_inputs
from tests.support.published import published_bytes

pytestmark = pytest.mark.cluster


def _can_mount() -> bool:
    if os.geteuid() != 0:
        return False
    with suppress(OSError):
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    return False


needs_root = pytest.mark.skipif(not _can_mount(), reason="only root may mount a file system")


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True, text=True)


@contextmanager
def mounted(directory: Path, *arguments: str | Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    mount(*arguments, directory)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True, capture_output=True)


def assert_whole(work_dir: Path) -> None:
    """Whatever stands under a final name can be believed."""
    store = CheckpointStore(work_dir / "checkpoints")
    for record in Path(store.location).glob("[0-9a-f]*.json"):
        store.read_record(record.stem)
    for kind in ("awards", "companies", "index", "chunks", "results", "published"):
        for directory in (work_dir / kind).glob(f"[!.]*/{MANIFEST}"):
            open_verified(directory.parent)


class Ballast:
    """Fills a file system up to so many bytes that are left."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "ballast"

    def fill(self, leave_bytes: int) -> None:
        found = os.statvfs(self._path.parent)
        with self._path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - leave_bytes)

    def remove(self) -> None:
        self._path.unlink()


@needs_root
@pytest.mark.long
@pytest.mark.parametrize("step", ["ingest_awards", "partition_recipients", "farm_chunks", "enrich_awards", "publish"])
def test_full_disk_leaves_no_partial_file(
    tmp_path: Path, client: Client, undisturbed: dict[str, str], step: str
) -> None:
    work = tmp_path / "work"
    with mounted(work, "-t", "tmpfs", "-o", "size=32m", "none"):
        ballast = Ballast(work)
        pipeline = HarmedPipeline(settings(tmp_path), tmp_path / "ledger")
        steps = {
            "ingest_awards": pipeline.ingest_awards,
            "join_companies": pipeline.join_companies,
            "partition_recipients": pipeline.partition_recipients,
            "farm_chunks": lambda: pipeline.farm_chunks(lambda: client),
            "enrich_awards": pipeline.enrich_awards,
            "publish": pipeline.publish_awards,
        }
        for name, run in steps.items():
            if name == step:
                break
            run()
        ballast.fill(leave_bytes=12_288)

        with pytest.raises((EnvironmentFailureError, OSError)) as stopped:
            steps[step]()

        assert isinstance(stopped.value, EnrichError) or stopped.value.errno == errno.ENOSPC
        assert_whole(work)
        ballast.remove()
        before = calls(tmp_path)
        resumed = run_steps_of(pipeline, client)
        assert published_bytes(work) == undisturbed
        assert sum(calls(tmp_path).values()) - sum(before.values()) == resumed.numbers["chunks_computed"]
        assert [path for path in work.glob(f"*/{TEMPORARY_PREFIX}*") if path.parent.name != "scratch"] == []


def run_steps_of(pipeline: HarmedPipeline, client: Client) -> StepReport:
    """All steps; the report of the farm."""
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    return farm_and_finish(pipeline, client)


def farm_and_finish(pipeline: HarmedPipeline, client: Client) -> StepReport:
    """What follows the plan; the report of the farm."""
    report = pipeline.farm_chunks(lambda: client)
    finish(pipeline)
    return report


@needs_root
@pytest.mark.long
@pytest.mark.parametrize("leave_bytes", [0, 65_536, 1_000_000])
def test_full_disk_prints_one_line(tmp_path: Path, undisturbed: dict[str, str], leave_bytes: int) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    work = tmp_path / "work"
    command = [
        "run", "--work-dir", work, "--awards", awards, "--recipients", recipients, "--chunk-size", "10",
        "--set", "match_rate_threshold=0.5",
    ]  # fmt: skip
    with mounted(work, "-t", "tmpfs", "-o", "size=64m", "none"):
        ballast = Ballast(work)
        ballast.fill(leave_bytes)

        stopped = enrich_dist(*command)

        assert stopped.returncode == 2  # refused before the start: neither the history nor a temporary file has room
        [line] = [line for line in stopped.stderr.splitlines() if line.startswith("Error:")]
        assert "free" in line
        assert "Traceback" not in stopped.stderr
        assert_whole(work)
        ballast.remove()
        resumed = enrich_dist(*command)
        assert resumed.returncode == 0, resumed.stderr
        assert published_bytes(work) == undisturbed


@pytest.mark.long
@needs_root
def test_read_only_disk_keeps_published_result(tmp_path: Path, client: Client, undisturbed: dict[str, str]) -> None:
    work = tmp_path / "work"
    with mounted(work, "-t", "tmpfs", "-o", "size=64m", "none"):
        pipeline = HarmedPipeline(settings(tmp_path), tmp_path / "ledger")
        run_steps_of(pipeline, client)
        assert calls(tmp_path) == each_once()
        key = pipeline.tasks()[3].checkpoint_key
        record_path(CheckpointStore(pipeline.directory.checkpoints), key).unlink()

        mount("-o", "remount,ro", work)
        with pytest.raises((EnvironmentFailureError, OSError)) as stopped:
            run_steps_of(pipeline, client)
        assert isinstance(stopped.value, EnrichError) or stopped.value.errno == errno.EROFS
        assert published_bytes(work) == undisturbed
        status = enrich_dist("status", "--set", f"paths.work_dir={work}")
        assert (status.returncode, "5 of 6 finished" in status.stdout) == (0, True), status.stderr

        mount("-o", "remount,rw", work)
        assert run_steps_of(pipeline, client).numbers["chunks_computed"] == 1
        assert published_bytes(work) == undisturbed
    assert calls(tmp_path) == each_once(row_31=2)


# <linux/fs.h>, and ext4's: down at once, without the journal being written.
_SHUTDOWN = 0x8004587D
_WITHOUT_LOG = 2


def cut_power(directory: Path) -> None:
    """Drop all that is not on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, _WITHOUT_LOG.to_bytes(4, "little"))
    finally:
        os.close(descriptor)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An ext4 file system in a file; its journal is not written before a sync asks for it."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed (Debian: apt-get install e2fsprogs)")
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(128_000_000)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True, capture_output=True)
    return path


@needs_root
@pytest.mark.parametrize(
    "finished", [1, pytest.param(4, marks=pytest.mark.long), pytest.param(6, marks=pytest.mark.long)]
)
def test_finished_work_survives_power_cut(
    tmp_path: Path, image: Path, undisturbed: dict[str, str], finished: int
) -> None:
    work = tmp_path / "work"
    loop = ("-o", "loop,commit=900", image)
    pipeline = HarmedPipeline(settings(tmp_path), tmp_path / "ledger")
    reported = 0

    def cut(event: Event) -> None:
        nonlocal reported
        if isinstance(event, FarmProgress) and event.chunks_done >= finished and not reported:
            reported = event.chunks_done
            (work / "lost").write_text("not synced", "utf-8")
            cut_power(work)

    with mounted(work, *loop):
        pipeline.ingest_awards()
        pipeline.join_companies()
        pipeline.partition_recipients()
        with (
            open_client(Settings(), tmp_path / "dask") as client,
            listening(cut),
            pytest.raises((OSError, EnrichError)),
        ):
            farm_and_finish(pipeline, client)
    matched = calls(tmp_path)
    assert reported >= finished

    with mounted(work, *loop):
        # A worker's sync may have written its name to the journal, but its bytes were not synced.
        lost = work / "lost"
        assert not lost.exists() or lost.stat().st_size == 0, "the power cut dropped nothing"
        # Each step and each chunk that was reported as finished is complete.
        assert_whole(work)
        kept = finished_chunks(pipeline)
        assert len(kept) >= reported
        with open_client(Settings(), tmp_path / "dask") as client:
            report = run_steps_of(pipeline, client)
        assert published_bytes(work) == undisturbed
    assert report.numbers["chunks_resumed"] == len(kept)
    again = {start: calls(tmp_path)[start] - matched[start] for start in CHUNK_STARTS}
    assert again == {start: int(number not in kept) for number, start in enumerate(CHUNK_STARTS)}
