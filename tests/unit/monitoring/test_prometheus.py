"""Monitoring: what events and records become, the ways out, and that none of them harms a run."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from enrich_dist.cluster.kinds import dask_config
from enrich_dist.errors import SettingsError
from enrich_dist.events import (
    AttemptTimes,
    Event,
    FarmProgress,
    Notice,
    Step,
    StepStarted,
    WorkerSample,
    WorkersSeen,
    emit,
    listening,
)
from enrich_dist.monitoring.prometheus.listener import FiguresListener
from enrich_dist.monitoring.prometheus.metrics import METRICS, Figures
from enrich_dist.monitoring.prometheus.monitoring import Monitoring
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings, load_settings
from enrich_dist.store.run_directory import RunDirectory
from tests.conftest import free_port, run_steps
from tests.support import known_case as known
from tests.support.in_process import run_in_process
from tests.support.prometheus_server import read

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """The values in an exposition, by full name and labels, as Prometheus' own parser reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((f"enrich_dist_{name}", frozenset(labels.items())))


def exposed(figures: Figures, *, live: bool = True) -> Samples:
    registry = CollectorRegistry()
    registry.register(figures.collector(live=live))
    return samples(generate_latest(registry).decode("utf-8"))


def progress(done: int, remaining_seconds: float | None = 5.0) -> FarmProgress:
    return FarmProgress(
        chunks_total=10, chunks_done=done, chunks_resumed=2, records_total=100, records_done=10 * done,
        awards_total=7, awards_matched=3, records_per_second=20.0, remaining_seconds=remaining_seconds, workers=2,
    )  # fmt: skip


def worker(name: str, **values: Any) -> WorkerSample:
    facts = {"memory_bytes": 5, "memory_limit_bytes": 10, "paused": False, "restarts": 0, **values}
    return WorkerSample(worker=name, address="tcp://127.0.0.1:1", **facts)


def attempt(outcome: str) -> AttemptTimes:
    return AttemptTimes(1, 1, outcome, "0", 0.0, 1.0, 2.0, 3.0)


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    events: list[Event] = []
    with listening(events.append):
        yield events


def warnings(heard: list[Event]) -> list[str]:
    return [event.message for event in heard if isinstance(event, Notice) and event.warning]


def test_what_has_no_value_is_not_there(figures: Figures) -> None:
    figures.set("match_rate", 0.5)
    figures.set("estimated_recall", 0.5)
    figures.set("estimated_recall", None)

    assert exposed(figures) == {("enrich_dist_match_rate", frozenset()): 0.5}


def test_a_metric_that_does_not_exist_or_has_other_labels_is_refused(figures: Figures) -> None:
    with pytest.raises(KeyError):
        figures.set("match_rates", 1)
    with pytest.raises(KeyError):
        figures.set("awards", 1, method="uei")
    with pytest.raises(KeyError):
        figures.replace("match_rate", {"a": 1})


@given(names=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False)))
def test_any_name_of_a_worker_survives_the_exposition(names: dict[str, float]) -> None:
    figures = Figures()
    figures.replace("worker_memory_bytes", names)

    registry = CollectorRegistry()
    registry.register(figures.collector(live=True))
    found = samples(generate_latest(registry).decode("utf-8"))

    assert {dict(labels)["worker"]: number for (_, labels), number in found.items()} == names


def test_events_become_figures(figures: Figures, tmp_path: Path) -> None:
    listener = FiguresListener(figures, RunDirectory(tmp_path))
    for event in (
        StepStarted(Step.CHUNK_MATCHES),
        WorkersSeen((worker("0"), worker("1", paused=True)), ("127.0.0.1:1",)),
        WorkersSeen((worker("1", paused=True, restarts=2),), ("127.0.0.1:2", "127.0.0.1:3")),
        progress(4),
        attempt("finished"),
        attempt("finished"),
        attempt("out of memory"),
        Notice("all is well"),
        Notice("take care", warning=True),
    ):
        listener(event)

    found = exposed(figures)

    assert value(found, "step_active", step="chunk_matches") == 1
    assert value(found, "worker_paused", worker="0") is None, "a worker that is gone"
    assert value(found, "worker_paused", worker="1") == 1
    assert value(found, "worker_restarts_total", worker="1") == 2
    assert value(found, "worker_memory_limit_bytes", worker="1") == 10
    assert value(found, "progress_chunks_done") == 4
    assert value(found, "progress_chunks_resumed") == 2
    assert value(found, "progress_records_done") == 40
    assert value(found, "progress_remaining_seconds") == 5
    assert value(found, "attempts_total", outcome="finished") == 2
    assert value(found, "attempts_total", outcome="out_of_memory") == 1
    assert value(found, "attempts_total", outcome="crash") == 0, "a counter is there before its first event"
    assert value(found, "warnings_total") == 1
    assert listener.dask_addresses == ("127.0.0.1:2", "127.0.0.1:3")
    assert listener.step_under_way == "chunk_matches"


def test_the_match_rate_to_be_expected_is_there_once_it_is_known(figures: Figures, tmp_path: Path) -> None:
    listener = FiguresListener(figures, RunDirectory(tmp_path))

    listener(progress(1))
    before = exposed(figures)
    listener(
        replace(
            progress(4),
            projected_match_rate=0.66,
            projected_match_rate_low=0.6,
            projected_match_rate_high=0.72,
            match_rate_threshold=0.7,
        )
    )
    after = exposed(figures)

    assert value(before, "progress_projected_match_rate", bound="estimate") is None
    assert [value(after, "progress_projected_match_rate", bound=bound) for bound in ("low", "estimate", "high")] == [
        0.6, 0.66, 0.72,
    ]  # fmt: skip
    assert value(after, "match_rate_threshold") == 0.7


def test_only_a_finished_chunk_is_progress(figures: Figures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100, 200))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    listener = FiguresListener(figures, RunDirectory(tmp_path))

    def progressed(event: Event) -> bool:
        before = figures.value("last_progress_timestamp_seconds")
        listener(event)
        return figures.value("last_progress_timestamp_seconds") != before

    assert progressed(StepStarted(Step.CHUNK_MATCHES))
    assert progressed(progress(2))
    assert not progressed(progress(2))
    assert not progressed(attempt("crash"))
    assert progressed(progress(3))


def test_time_left_that_is_not_known_is_not_there(figures: Figures, tmp_path: Path) -> None:
    listener = FiguresListener(figures, RunDirectory(tmp_path))
    listener(progress(2))
    listener(progress(2, remaining_seconds=None))

    assert value(exposed(figures), "progress_remaining_seconds") is None


def test_what_tells_of_a_run_at_work_is_not_left(figures: Figures) -> None:
    for metric in METRICS:
        figures.set(metric.name, 1, **dict.fromkeys(metric.labels, "x"))

    left = {name for name, _ in exposed(figures, live=False)}

    assert left == {metric.full_name for metric in METRICS if not metric.live}
    assert {name for name, _ in exposed(figures)} == {metric.full_name for metric in METRICS}


def monitored(folder: Path, *, monitoring: dict[str, Any], **values: Any) -> tuple[Pipeline, Monitoring]:
    settings = known.settings(folder, monitoring=monitoring, **values)
    pipeline = Pipeline(settings, "test")
    return pipeline, Monitoring(pipeline.directory, settings, "test")


def test_a_run_is_served_while_it_works_and_left_in_a_file(tmp_path: Path, client: Client, heard: list[Event]) -> None:
    port, file = free_port(), tmp_path / "run.prom"
    pipeline, monitoring = monitored(tmp_path, monitoring={"port": port, "textfile": file})
    seen: list[Samples] = []
    targets: list[Any] = []

    def asked(event: Event) -> None:
        if isinstance(event, FarmProgress):
            seen.append(samples(read(f"http://127.0.0.1:{port}/metrics")))
            targets.append(json.loads(read(f"http://127.0.0.1:{port}/dask-targets")))

    monitoring.begin()
    assert json.loads(read(f"http://127.0.0.1:{port}/dask-targets")) == []
    with listening(asked):
        run_steps(pipeline.settings, lambda: client)
    monitoring.end()

    steps = pipeline.directory.all_latest()
    left = samples(file.read_text("utf-8"))
    assert warnings(heard) == []
    assert (
        value(seen[-1], "progress_chunks_done")
        == value(seen[-1], "progress_chunks")
        == steps[Step.CHUNK_MATCHES].numbers["chunks"]
    )
    assert value(seen[-1], "run_active") == 1
    assert value(seen[-1], "worker_memory_bytes", worker="0") is not None
    assert value(seen[-1], "run_outcome", outcome="published") is None
    assert ("process_resident_memory_bytes", frozenset()) in seen[-1]
    assert len(targets[-1][0]["targets"]) == 3, "a scheduler and two workers"
    with pytest.raises(urllib.error.URLError):
        read(f"http://127.0.0.1:{port}/metrics")

    for step, report in steps.items():
        assert value(left, "step_rows", step=step) == report.rows
        assert value(left, "step_duration_seconds", step=step) == report.seconds
        assert value(left, "step_peak_memory_bytes", step=step) == report.peak_memory_bytes
    farm, judged = steps[Step.CHUNK_MATCHES].numbers, steps[Step.ENRICHED_AWARDS].numbers
    assert value(left, "farm_records_per_second") == farm["farm_records_per_second"]
    assert farm["farm_records_per_second"] == pytest.approx(
        steps[Step.CHUNK_MATCHES].rows / farm["farm_seconds"], rel=0.05
    )
    assert value(left, "farm_chunks", origin="computed") == farm["chunks_computed"]
    assert value(left, "worker_peak_memory_bytes") == pytest.approx(farm["worker_peak_memory_mb"] * 1e6)
    for name in ("match_rate", "match_rate_threshold", "estimated_precision", "estimated_recall", "verdict_passed"):
        assert value(left, name) == judged[name], name
    assert value(left, "estimated_precision_threshold") == judged["min_estimated_precision"]
    assert value(left, "awards", status="matched") == judged["awards_matched"]
    assert value(left, "awards_matched", method="uei") == judged["awards_matched_by_uei"]
    assert value(left, "quarantined_share") == 0
    assert value(left, "quarantined_share_threshold") == pipeline.settings.max_quarantined_share
    assert value(left, "check_passed", check="reconciliation") == 1
    assert value(left, "run_outcome", outcome="published") == 1
    assert value(left, "last_success_timestamp_seconds") == pytest.approx(time.time(), abs=60)
    assert value(left, "run_active") is None

    # Again, with nothing to do: what it did not compute has no rate, and the result's figures stay.
    again, monitoring = monitored(tmp_path, monitoring={"textfile": file})
    monitoring.begin()
    run_steps(again.settings, lambda: client)
    monitoring.end()
    left_again = samples(file.read_text("utf-8"))
    assert value(left_again, "farm_records_per_second") is None
    assert value(left_again, "farm_chunks", origin="resumed") == farm["chunks"]
    assert value(left_again, "match_rate") == judged["match_rate"]


def test_no_way_out_that_fails_harms_the_run(tmp_path: Path, client: Client, heard: list[Event]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port, nobody, nowhere = taken.getsockname()[1], free_port(), tmp_path / "no directory" / "run.prom"
        pipeline, monitoring = monitored(
            tmp_path,
            monitoring={"port": port, "textfile": nowhere, "pushgateway": f"http://127.0.0.1:{nobody}"},
        )
        monitoring.begin()
        run_steps(pipeline.settings, lambda: client)
        monitoring.end()

    assert pipeline.directory.latest(Step.PUBLISHED_AWARDS).rows > 0
    assert [message.split(" (")[0] for message in warnings(heard)] == [
        f"The figures cannot be scraped at 127.0.0.1:{port}",
        f"The figures could not be written to {nowhere}",
        f"The figures could not be handed to the Pushgateway at http://127.0.0.1:{nobody}",
    ]


def test_a_pushgateway_that_never_answers_is_not_waited_for(tmp_path: Path, heard: list[Event]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        _, monitoring = monitored(tmp_path, monitoring={"pushgateway": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        monitoring.begin()
        began = time.monotonic()
        monitoring.end()

    assert time.monotonic() - began < 15
    assert len(warnings(heard)) == 1


def damage(directory: RunDirectory) -> None:
    (directory.steps / "enriched_awards.json").write_text("{", "utf-8")


def remove_result(directory: RunDirectory) -> None:
    step = directory.steps / "enriched_awards.json"
    step.write_text(step.read_text("utf-8").replace("results", "nowhere"), "utf-8")


@pytest.mark.parametrize(("harm", "told"), [(damage, 0), (remove_result, 1)])
def test_damaged_records_of_an_earlier_run_harm_nothing(
    tmp_path: Path, heard: list[Event], harm: Callable[[RunDirectory], None], told: int
) -> None:
    file = tmp_path / "run.prom"
    pipeline, monitoring = monitored(tmp_path, monitoring={"textfile": file})
    run_in_process(pipeline.settings)
    harm(pipeline.directory)

    monitoring.begin()
    emit(StepStarted(Step.SBIR_AWARDS))
    monitoring.end()

    left = samples(file.read_text("utf-8"))
    assert value(left, "step_rows", step="sbir_awards") is not None
    assert value(left, "match_rate") is None
    assert len([message for message in warnings(heard) if "has no figures" in message]) == told


def job(tmp_path: Path, awards: str, *selection: str) -> Samples:
    """What the job leaves when it is run by Dagster's own means on these awards, up to the assets selected."""
    from dagster_defs.definitions import defs

    inputs = tmp_path / "inputs"
    _, recipients = known.write_inputs(inputs)
    (inputs / "given.csv").write_text(awards, "utf-8")
    values = {
        "inputs.awards": inputs / "given.csv",
        "inputs.recipients": recipients,
        "paths.work_dir": tmp_path / "work",
        "monitoring.textfile": tmp_path / "run.prom",
    }
    config = {"config": "config/base.yaml", "overrides": [f"{key}={value}" for key, value in values.items()]}
    defs.resolve_job_def("enrich").execute_in_process(
        asset_selection=[dg.AssetKey(name) for name in selection],
        run_config={
            "resources": {"settings": {"config": config}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        raise_on_error=False,
    )
    return samples((tmp_path / "run.prom").read_text("utf-8"))


def test_a_run_that_fails_says_so_and_leaves_what_was_before(tmp_path: Path) -> None:
    header = ",".join(known.AWARD_HEADER)
    row = "Acme Works Inc,A title,Department of Energy,Phase I,2020,1,,,1 Main St,Dayton,OH,45402"

    first = job(tmp_path, f"{header}\n{row}\n", "sbir_awards")
    second = job(tmp_path, f"{header}\n", "sbir_awards")

    assert value(first, "run_outcome", outcome="unpublished") == 1
    assert value(first, "step_rows", step="sbir_awards") == 1
    assert value(second, "run_outcome", outcome="failed") == 1
    assert value(second, "run_outcome", outcome="unpublished") == 0
    assert value(second, "step_rows", step="sbir_awards") == 1
    assert value(second, "last_success_timestamp_seconds") is None


_DEFAULT_RUN = """
import sys
import dagster_defs.definitions
from pathlib import Path
from enrich_dist.events import _listeners
from enrich_dist.monitoring.prometheus.monitoring import Monitoring
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import RunDirectory
monitoring = Monitoring(RunDirectory(Path(sys.argv[1])), Settings(), "test")
monitoring.begin()
assert not _listeners
monitoring.end()
assert "prometheus_client" not in sys.modules
"""


def test_by_default_nothing_is_imported_and_nobody_listens(tmp_path: Path, client: Client) -> None:
    subprocess.run([sys.executable, "-c", _DEFAULT_RUN, str(tmp_path)], check=True, timeout=120)

    assert not any(client.run(lambda: "prometheus_client" in sys.modules).values())


def test_dask_serves_its_metrics_only_to_a_run_that_is_scraped() -> None:
    key = "distributed.worker.http.routes"

    assert "distributed.http.worker.prometheus" not in dask_config(Settings())[key]
    assert "distributed.http.health" in dask_config(Settings())[key]
    assert key not in dask_config(Settings(monitoring={"port": 9410}))
    assert key in dask_config(Settings(monitoring={"textfile": "run.prom"}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("monitoring.pushgateway=http://user:canary-7@gateway:9091", "holds no user, password or token"),
        ("monitoring.pushgateway=http://gateway:9091?token=canary-7", "holds no user, password or token"),
        ("monitoring.pushgateway=gateway:9091", "write it as http://host:9091"),
        ("monitoring.textfile=run.txt", r"ends in \.prom"),
        ("monitoring.port=0", "greater than or equal to 1"),
        ("monitoring.port=70000", "less than or equal to 65535"),
        ("monitoring.job=", "job"),
    ],
)
def test_a_way_that_cannot_be_is_refused_and_no_secret_told(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        load_settings(None, [text], {})

    assert "canary-7" not in str(refused.value)
