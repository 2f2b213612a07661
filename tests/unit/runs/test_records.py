"""Run records and the benchmark archive."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist import __version__
from enrich_dist.core.files import document_digest, file_digest
from enrich_dist.errors import BenchmarkError, CorruptionError, StateError
from enrich_dist.events import Event, Notice, Step, listening
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.run_lifecycle import finish_run
from enrich_dist.runs.archive import (
    BASELINE,
    archive_path,
    baseline_for,
    latest_session,
    read_archive,
    sessions_of,
    set_baseline,
    write_record,
)
from enrich_dist.runs.calibration import calibration_seconds
from enrich_dist.runs.environment import this_code, this_machine
from enrich_dist.runs.records import CODEC, latest_record
from enrich_dist.runs.session import (
    CalibrationWorkload,
    Command,
    Finished,
    command_of,
    run_session,
)
from enrich_dist.settings import Settings
from enrich_dist.settings.tree import PathSettings
from enrich_dist.store.run_directory import Number, RunDirectory
from tests.support import known_case as known
from tests.support.histories import BEGIN, RESUMED, a_run, match_rate, vary
from tests.support.in_process import run_in_process


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Return a run of the known case, whose chunks count as resumed."""
    pipeline = run_in_process(known.settings(tmp_path_factory.mktemp("run")))
    pipeline.publish_awards()
    return pipeline


def test_record_of_finished_run(finished: Pipeline) -> None:
    record = latest_record(finished.directory, finished.settings)

    judged = finished.directory.steps / "enriched_awards.json"
    assert datetime.fromisoformat(record.timestamp).timestamp() == int(judged.stat().st_mtime)
    assert record.status == "published"
    assert list(record.own_steps) == list(finished.directory.all_latest())
    assert record.steps[Step.SBIR_AWARDS].seconds == finished.directory.latest(Step.SBIR_AWARDS).seconds
    awards = finished.settings.inputs.awards
    assert awards is not None
    assert record.awards.blake3 == file_digest(Path(awards))
    assert record.awards.valid_rows == finished.directory.latest(Step.SBIR_AWARDS).rows
    assert record.workload_settings["chunk_size"] == "10"
    assert sum(worker.records for worker in record.workers) == record.recipients.valid_rows
    assert all(worker.peak_memory_bytes > 0 for worker in record.workers)
    assert record.machine == this_machine()


def test_resumed_run_is_recognised(finished: Pipeline) -> None:
    record = latest_record(finished.directory, finished.settings)

    assert record.matching(Number.CHUNKS_RESUMED) == record.chunks > 0
    assert not record.computed_everything


def test_archive_has_no_path_or_host(finished: Pipeline, tmp_path: Path) -> None:
    record = latest_record(finished.directory, finished.settings)

    text = write_record(tmp_path, record).read_text("utf-8")

    assert "/" in json.dumps(CODEC.to_document(record))
    assert "/" not in text.replace(record.machine.cpu_model, "")
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text)


def archived(settings: Settings, archive: Path) -> Settings:
    """Return the settings with this archive."""
    return settings.model_copy(update={"paths": settings.paths.model_copy(update={"benchmarks": archive})})


def test_unjudged_run_has_no_record(finished: Pipeline, tmp_path: Path) -> None:
    journal = finished.directory.run_history
    before = journal.exists()
    finish_run(Pipeline(archived(finished.settings, tmp_path / "archive"), "another run"))

    assert not (tmp_path / "archive").exists()
    assert journal.exists() == before
    with pytest.raises(StateError):
        latest_record(RunDirectory(tmp_path))


def test_record_is_appended_once(finished: Pipeline, tmp_path: Path) -> None:
    for _ in range(2):
        finish_run(Pipeline(archived(finished.settings, tmp_path), "test"))

    assert [record.id for record in read_archive(tmp_path).records] == ["test"]


def test_unwritable_archive_warns(finished: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    events: list[Event] = []

    with listening(events.append):
        finish_run(Pipeline(archived(finished.settings, tmp_path / "file" / "archive"), "test"))

    [notice] = events
    assert isinstance(notice, Notice)
    assert notice.warning
    assert "could not be written (NotADirectoryError" in notice.message


def test_archive_path_by_work_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "reports" / "benchmarks").mkdir(parents=True)

    def settings(work_dir: Path, benchmarks: Path | None = None) -> Settings:
        return Settings(paths=PathSettings(work_dir=work_dir, benchmarks=benchmarks))

    monkeypatch.chdir(project)
    assert archive_path(settings(Path("work"))) == project / "reports" / "benchmarks"
    assert archive_path(settings(tmp_path / "else")) == tmp_path / "else" / "benchmarks"
    assert archive_path(settings(Path("work"), tmp_path / "given")) == tmp_path / "given"
    monkeypatch.chdir(tmp_path)
    assert archive_path(settings(Path("work"))) == tmp_path / "work" / "benchmarks"


@given(
    st.floats(0.1, 10),
    st.floats(0.1, 10),
    st.none() | st.text("abcdef0123456789", min_size=1, max_size=12),
    st.none() | st.floats(0, 1e3),
)
def test_record_round_trip(slower: float, memory: float, session: str | None, speed: float) -> None:
    record = a_run(slower=slower, memory=memory, session=session, calibration_seconds=speed)

    assert CODEC.from_bytes(CODEC.to_bytes(record), "here") == record


def test_damaged_records_are_reported(tmp_path: Path) -> None:
    whole = write_record(tmp_path, a_run("aaaa"))
    document = json.loads(whole.read_text("utf-8"))
    (tmp_path / "run-1-torn.json").write_bytes(whole.read_bytes()[:100])
    (tmp_path / "run-2-altered.json").write_text(json.dumps({**document, "wall_seconds": 0.1}), "utf-8")
    (tmp_path / "run-3-other.json").write_text(json.dumps({"format": 1}), "utf-8")
    (tmp_path / "run-4-list.json").write_text("[]", "utf-8")
    (tmp_path / "another-report.json").write_text("{}", "utf-8")

    found = read_archive(tmp_path)

    assert [record.id for record in found.records] == ["aaaa"]
    assert [problem.split(":")[0].split(" ")[0] for problem in found.problems] == [
        f"run-{name}.json" for name in ("1-torn", "2-altered", "3-other", "4-list")
    ]
    assert "its digest does not match" in found.problems[1]
    assert "format 2 (found 1)" in found.problems[2]
    assert str(tmp_path) not in found.problems[1]


@pytest.mark.parametrize(("field", "value"), [("finished_seconds", -1), ("wall_seconds", "fast"), ("steps", {})])
def test_impossible_value_is_named(field: str, value: object) -> None:
    document = {**CODEC.to_document(a_run()), field: value}
    del document["record_blake3"]
    document["record_blake3"] = document_digest(document)

    with pytest.raises(CorruptionError, match="not a run record: " + (field if field != "steps" else ".*no report of")):
        CODEC.from_document(document, "here")


@pytest.mark.parametrize("rate", [1.5, -0.1])
def test_impossible_match_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="match_rate"):
        vary(a_run(), numbers=match_rate(rate))


def test_failed_write_leaves_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("enrich_dist.core.files.sync_file", fails)

    with pytest.raises(OSError, match="no space"):
        write_record(tmp_path, a_run())

    assert list(tmp_path.iterdir()) == []


def test_latest_session_excludes_resumed_runs(tmp_path: Path) -> None:
    later = BEGIN + timedelta(days=1)
    runs = [a_run("a1", session="one"), a_run("b1", session="two", at=later), a_run("c1", session=None, at=later)]
    runs.append(vary(a_run("b2", session="two", at=later), numbers=RESUMED))

    assert [record.id for record in latest_session(runs)] == ["b1"]
    assert len(sessions_of(runs)) == 2
    with pytest.raises(StateError, match="no repeated runs"):
        latest_session(runs[2:])


def test_one_baseline_per_workload(tmp_path: Path) -> None:
    one = a_run("a1")
    other = vary(a_run("b1"), settings={"chunk_size": 5})
    set_baseline(tmp_path, [one])
    set_baseline(tmp_path, [other])

    assert baseline_for(tmp_path, [a_run("a2")], [one, other]) == (one,)
    assert baseline_for(tmp_path, [vary(a_run("b2"), settings={"chunk_size": 5})], [one, other]) == (other,)


def test_unusable_baseline_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="There is no baseline"):
        baseline_for(tmp_path, [a_run("a2")], [])
    set_baseline(tmp_path, [a_run("a1")])
    with pytest.raises(StateError, match="missing or damaged: a1"):
        baseline_for(tmp_path, [a_run("a2")], [])
    (tmp_path / BASELINE).write_text('{"baselines": {"x": 3}}', "utf-8")
    with pytest.raises(CorruptionError, match="does not contain baselines"):
        baseline_for(tmp_path, [a_run("a2")], [])


def test_machine_digest() -> None:
    machine = this_machine()

    assert machine.digest == this_machine().digest
    assert machine.digest != replace(machine, cores=machine.cores + 1).digest


def test_revision_of_own_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        names = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        return subprocess.run(
            ["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    package = tmp_path / "enrich_dist"
    package.mkdir()
    (package / "__init__.py").write_text("", "utf-8")
    git("init", "-q")
    (tmp_path / "other").write_text("", "utf-8")
    git("add", "other")
    git("commit", "-qm", "a checkout of something else")
    installed = this_code(package)
    git("add", ".")
    git("commit", "-qm", "the package")
    clean = this_code(package)
    (package / "__init__.py").write_text("changed", "utf-8")

    assert (installed.revision, installed.label) == (None, __version__)
    assert (clean.revision, clean.modified) == (git("rev-parse", "HEAD"), False)
    assert this_code(package).label == f"{clean.label}+"


def test_calibration_seconds() -> None:
    assert 0 < calibration_seconds() < 60


@pytest.mark.long
def test_session_runs_from_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    work_dirs: set[str] = set()

    def command(arguments: Sequence[str], environment: dict[str, str]) -> Finished:
        texts = dict(text.split("=", 1) for text in arguments if "=" in text)
        assert "DAGSTER_HOME" not in environment
        assert texts["paths.checkpoints"] == "null"
        assert texts["chunk_size"] == "5"
        assert texts["environment"] == "development"  # measurements do not publish
        work_dirs.add(texts["paths.work_dir"])
        write_record(Path(texts["paths.benchmarks"]), a_run(f"run{len(work_dirs)}", session=None))
        return Finished(0, "", 2.0, 3.0)

    made = list(
        run_session(
            config=None,
            overrides=["chunk_size=5", "environment=production"],
            scratch=tmp_path / "scratch",
            archive=tmp_path / "archive",
            repeats=3,
            command=command,
        )
    )

    kept = read_archive(tmp_path / "archive").records
    assert sorted(record.id for record in kept) == sorted(record.id for record in made) == ["run1", "run2", "run3"]
    assert len({record.session for record in kept}) == 1
    assert kept[0].session is not None
    assert all((record.wall_seconds, record.cpu_seconds) == (2.0, 3.0) for record in kept)
    assert all(record.calibration_seconds and record.calibration_cpu_seconds for record in kept)
    assert len(work_dirs) == 3
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.long
def test_session_stops_at_failed_run(tmp_path: Path) -> None:
    places = {"scratch": tmp_path / "scratch", "archive": tmp_path / "archive"}

    def ended(code: int) -> Command:
        return lambda *_: Finished(code, "the last words", 1.0, None)

    with pytest.raises(BenchmarkError, match=r"exit code 1(.|\n)*the last words"):
        list(run_session(config=None, overrides=[], repeats=2, command=ended(1), **places))
    with pytest.raises(BenchmarkError, match="has no record"):
        list(run_session(config=None, overrides=[], repeats=2, command=ended(0), **places))

    assert list((tmp_path / "scratch").iterdir()) == []


def test_job_appends_its_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The Dagster resource appends it when it is torn down."""
    from dagster import build_init_resource_context

    from dagster_defs import resources
    from enrich_dist import run_lifecycle

    appended: list[tuple[str, bool]] = []
    monkeypatch.setattr(run_lifecycle, "report_run", lambda run, *, archive: appended.append((run.run_id, archive)))
    held = resources.EnrichSettings(overrides=[f"paths.work_dir={tmp_path}"])

    with held.yield_for_execution(build_init_resource_context()):
        assert appended == []

    assert [archive for _, archive in appended] == [True]


def test_cpu_seconds_include_orphans() -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    both = (
        "import subprocess, sys; print('out', flush=True)\n"
        f"subprocess.Popen([sys.executable, '-c', {burn!r}], start_new_session=True)\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}])\nsys.exit(3)"
    )

    done = command_of([sys.executable, "-c"])([both], dict(os.environ))

    assert (done.code, done.output) == (3, "out\n")
    assert done.cpu_seconds is not None
    assert 1.0 <= done.cpu_seconds < 3.0


def test_calibration_cpu_seconds() -> None:
    assert 0 < CalibrationWorkload().seconds() < 30
