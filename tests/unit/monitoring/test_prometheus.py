"""Metrics from events and step records, their export, and that no failure of it affects a run."""

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
from prometheus_client import generate_latest
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
from enrich_dist.monitoring.prometheus.export import make_registry
from enrich_dist.monitoring.prometheus.metrics import METRICS, MetricValues
from enrich_dist.monitoring.prometheus.run_monitor import RunMonitor
from enrich_dist.monitoring.prometheus.updates import MetricsListener
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings, load_settings
from enrich_dist.store.run_directory import RunDirectory
from tests.conftest import free_port, run_steps
from tests.support import known_case as known
from tests.support.in_process import run_in_process
from tests.support.prometheus_server import read

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Return the values of an exposition by full name and labels, read by Prometheus' own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((f"enrich_dist_{name}", frozenset(labels.items())))


def exposed(values: MetricValues, *, live: bool = True) -> Samples:
    return samples(generate_latest(make_registry(values, live=live)).decode("utf-8"))


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
def values() -> MetricValues:
    return MetricValues()


@pytest.fixture
def events() -> Iterator[list[Event]]:
    events: list[Event] = []
    with listening(events.append):
        yield events


def warnings(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice) and event.warning]


def test_unset_metrics_are_absent(values: MetricValues) -> None:
    values.set("match_rate", 0.5)
    values.set("estimated_recall", 0.5)
    values.set("estimated_recall", None)

    assert exposed(values) == {("enrich_dist_match_rate", frozenset()): 0.5}


def test_unknown_metric_or_label_raises(values: MetricValues) -> None:
    with pytest.raises(KeyError):
        values.set("match_rates", 1)
    with pytest.raises(KeyError):
        values.set("awards", 1, method="uei")
    with pytest.raises(KeyError):
        values.replace("match_rate", {"a": 1})


@given(names=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False)))
def test_worker_names_are_escaped(names: dict[str, float]) -> None:
    values = MetricValues()
    values.replace("worker_memory_bytes", names)

    found = exposed(values)

    assert {dict(labels)["worker"]: number for (_, labels), number in found.items()} == names


def test_events_update_metrics(values: MetricValues, tmp_path: Path) -> None:
    listener = MetricsListener(values, RunDirectory(tmp_path))
    for event in (
        StepStarted(Step.CHUNK_MATCHES),
        WorkersSeen((worker("0"), worker("1", paused=True)), ("127.0.0.1:1",)),
        WorkersSeen((worker("1", paused=True, restarts=2),), ("127.0.0.1:2", "127.0.0.1:3")),
        progress(4),
        attempt("finished"),
        attempt("finished"),
        attempt("out of memory"),
        Notice("a notice"),
        Notice("a warning", warning=True),
    ):
        listener(event)

    found = exposed(values)

    assert value(found, "step_active", step="chunk_matches") == 1
    assert value(found, "worker_paused", worker="0") is None, "the worker has remaining"
    assert value(found, "worker_paused", worker="1") == 1
    assert value(found, "worker_restarts_total", worker="1") == 2
    assert value(found, "worker_memory_limit_bytes", worker="1") == 10
    assert value(found, "progress_chunks_done") == 4
    assert value(found, "progress_chunks_resumed") == 2
    assert value(found, "progress_records_done") == 40
    assert value(found, "progress_remaining_seconds") == 5
    assert value(found, "attempts_total", outcome="finished") == 2
    assert value(found, "attempts_total", outcome="out_of_memory") == 1
    assert value(found, "attempts_total", outcome="crash") == 0, "a counter exists before its first event"
    assert value(found, "warnings_total") == 1
    assert listener.dask_addresses == ("127.0.0.1:2", "127.0.0.1:3")
    assert listener.active_step == "chunk_matches"


def test_projected_match_rate(values: MetricValues, tmp_path: Path) -> None:
    listener = MetricsListener(values, RunDirectory(tmp_path))

    listener(progress(1))
    before = exposed(values)
    listener(
        replace(
            progress(4),
            projected_match_rate=0.66,
            projected_match_rate_low=0.6,
            projected_match_rate_high=0.72,
            match_rate_threshold=0.7,
        )
    )
    after = exposed(values)

    assert value(before, "progress_projected_match_rate", bound="estimate") is None
    assert [value(after, "progress_projected_match_rate", bound=bound) for bound in ("low", "estimate", "high")] == [
        0.6, 0.66, 0.72,
    ]  # fmt: skip
    assert value(after, "match_rate_threshold") == 0.7


def test_finished_chunks_are_progress(values: MetricValues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100, 200))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    listener = MetricsListener(values, RunDirectory(tmp_path))

    def progressed(event: Event) -> bool:
        before = value(exposed(values), "last_progress_timestamp_seconds")
        listener(event)
        return value(exposed(values), "last_progress_timestamp_seconds") != before

    assert progressed(StepStarted(Step.CHUNK_MATCHES))
    assert progressed(progress(2))
    assert not progressed(progress(2))
    assert not progressed(attempt("crash"))
    assert progressed(progress(3))


def test_unknown_remaining_time_is_absent(values: MetricValues, tmp_path: Path) -> None:
    listener = MetricsListener(values, RunDirectory(tmp_path))
    listener(progress(2))
    listener(progress(2, remaining_seconds=None))

    assert value(exposed(values), "progress_remaining_seconds") is None


def test_live_metrics_do_not_remain(values: MetricValues) -> None:
    for metric in METRICS:
        values.set(metric.name, 1, **dict.fromkeys(metric.labels, "x"))

    remaining = {name for name, _ in exposed(values, live=False)}

    assert remaining == {metric.full_name for metric in METRICS if not metric.live}
    assert {name for name, _ in exposed(values)} == {metric.full_name for metric in METRICS}


def monitored(folder: Path, *, monitoring: dict[str, Any], **values: Any) -> tuple[Pipeline, RunMonitor]:
    settings = known.settings(folder, monitoring=monitoring, **values)
    pipeline = Pipeline(settings, "test")
    return pipeline, RunMonitor(pipeline.directory, settings, "test")


def test_run_is_served_then_written(tmp_path: Path, client: Client, events: list[Event]) -> None:
    port, file = free_port(), tmp_path / "run.prom"
    pipeline, monitoring = monitored(tmp_path, monitoring={"port": port, "textfile": file})
    seen: list[Samples] = []
    targets: list[Any] = []

    def scrape(event: Event) -> None:
        if isinstance(event, FarmProgress):
            seen.append(samples(read(f"http://127.0.0.1:{port}/metrics")))
            targets.append(json.loads(read(f"http://127.0.0.1:{port}/dask-targets")))

    monitoring.start()
    assert json.loads(read(f"http://127.0.0.1:{port}/dask-targets")) == []
    with listening(scrape):
        run_steps(pipeline.settings, lambda: client)
    monitoring.stop()

    steps = pipeline.directory.all_latest()
    remaining = samples(file.read_text("utf-8"))
    assert warnings(events) == []
    assert (
        value(seen[-1], "progress_chunks_done")
        == value(seen[-1], "progress_chunks")
        == steps[Step.CHUNK_MATCHES].numbers["chunks"]
    )
    assert value(seen[-1], "run_active") == 1
    assert value(seen[-1], "worker_memory_bytes", worker="0") is not None
    assert value(seen[-1], "run_outcome", outcome="published") is None
    assert ("process_resident_memory_bytes", frozenset()) in seen[-1]
    assert targets[-1] == [], "this cluster started without monitoring, so it has no pages"
    with pytest.raises(urllib.error.URLError):
        read(f"http://127.0.0.1:{port}/metrics")

    for step, report in steps.items():
        assert value(remaining, "step_rows", step=step) == report.rows
        assert value(remaining, "step_duration_seconds", step=step) == report.seconds
        assert value(remaining, "step_peak_memory_bytes", step=step) == report.peak_memory_bytes
    farm, judged = steps[Step.CHUNK_MATCHES].numbers, steps[Step.ENRICHED_AWARDS].numbers
    assert value(remaining, "farm_records_per_second") == farm["farm_records_per_second"]
    assert farm["farm_records_per_second"] == pytest.approx(
        steps[Step.CHUNK_MATCHES].rows / farm["farm_seconds"], rel=0.05
    )
    assert value(remaining, "farm_chunks", origin="computed") == farm["chunks_computed"]
    assert value(remaining, "worker_peak_memory_bytes") == pytest.approx(farm["worker_peak_memory_mb"] * 1e6)
    for name in ("match_rate", "match_rate_threshold", "estimated_precision", "estimated_recall", "verdict_passed"):
        assert value(remaining, name) == judged[name], name
    assert value(remaining, "estimated_precision_threshold") == judged["min_estimated_precision"]
    assert value(remaining, "awards", status="matched") == judged["awards_matched"]
    assert value(remaining, "awards_matched", method="uei") == judged["awards_matched_by_uei"]
    assert value(remaining, "quarantined_share") == 0
    assert value(remaining, "quarantined_share_threshold") == pipeline.settings.max_quarantined_share
    assert value(remaining, "check_passed", check="reconciliation") == 1
    assert value(remaining, "run_outcome", outcome="published") == 1
    assert value(remaining, "last_success_timestamp_seconds") == pytest.approx(time.time(), abs=60)
    assert value(remaining, "run_active") is None

    # Run again: chunks are resumed, so there is no rate, and the metrics of the result remain.
    again, monitoring = monitored(tmp_path, monitoring={"textfile": file})
    monitoring.start()
    run_steps(again.settings, lambda: client)
    monitoring.stop()
    remaining_again = samples(file.read_text("utf-8"))
    assert value(remaining_again, "farm_records_per_second") is None
    assert value(remaining_again, "farm_chunks", origin="resumed") == farm["chunks"]
    assert value(remaining_again, "match_rate") == judged["match_rate"]


def test_failed_exports_are_warnings(tmp_path: Path, client: Client, events: list[Event]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port, unused, missing = taken.getsockname()[1], free_port(), tmp_path / "no directory" / "run.prom"
        pipeline, monitoring = monitored(
            tmp_path,
            monitoring={"port": port, "textfile": missing, "pushgateway": f"http://127.0.0.1:{unused}"},
        )
        monitoring.start()
        run_steps(pipeline.settings, lambda: client)
        monitoring.stop()

    assert pipeline.directory.latest(Step.PUBLISHED_AWARDS).rows > 0
    expected = (f"127.0.0.1:{port}", str(missing), f"http://127.0.0.1:{unused}")
    assert len(warnings(events)) == len(expected)
    for message, part in zip(warnings(events), expected, strict=True):
        assert part in message


@pytest.mark.long
def test_silent_pushgateway_times_out(tmp_path: Path, events: list[Event]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        _, monitoring = monitored(tmp_path, monitoring={"pushgateway": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        monitoring.start()
        began = time.monotonic()
        monitoring.stop()

    assert time.monotonic() - began < 15
    assert len(warnings(events)) == 1


def damage(directory: RunDirectory) -> None:
    (directory.steps / "enriched_awards.json").write_text("{", "utf-8")


def remove_result(directory: RunDirectory) -> None:
    step = directory.steps / "enriched_awards.json"
    step.write_text(step.read_text("utf-8").replace("results", "nowhere"), "utf-8")


@pytest.mark.parametrize(("change", "expected_warnings"), [(damage, 0), (remove_result, 1)])
def test_damaged_earlier_records(
    tmp_path: Path, events: list[Event], change: Callable[[RunDirectory], None], expected_warnings: int
) -> None:
    file = tmp_path / "run.prom"
    pipeline, monitoring = monitored(tmp_path, monitoring={"textfile": file})
    run_in_process(pipeline.settings)
    change(pipeline.directory)

    monitoring.start()
    emit(StepStarted(Step.SBIR_AWARDS))
    monitoring.stop()

    remaining = samples(file.read_text("utf-8"))
    assert value(remaining, "step_rows", step="sbir_awards") is not None
    assert value(remaining, "match_rate") is None
    assert len(warnings(events)) == expected_warnings


def job(tmp_path: Path, awards: str, *selection: str) -> Samples:
    """Run the job on these awards, for the selected assets, and return the metrics that remain."""
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


def test_failed_run_keeps_earlier_metrics(tmp_path: Path) -> None:
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
from enrich_dist.monitoring.prometheus.run_monitor import RunMonitor
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import RunDirectory
monitoring = RunMonitor(RunDirectory(Path(sys.argv[1])), Settings(), "test")
monitoring.start()
assert not _listeners
monitoring.stop()
assert "prometheus_client" not in sys.modules
"""


def test_monitoring_is_off_by_default(tmp_path: Path, client: Client) -> None:
    subprocess.run([sys.executable, "-c", _DEFAULT_RUN, str(tmp_path)], check=True, timeout=120)

    assert not any(client.run(lambda: "prometheus_client" in sys.modules).values())


def test_dask_metrics_need_a_port() -> None:
    key, metrics = "distributed.worker.http.routes", "distributed.http.worker.prometheus"
    remote = {"kind": "ssh", "allow_insecure": True}

    assert dask_config(Settings())[key] == []
    assert dask_config(Settings(monitoring={"port": 9410}))[key] == [metrics]
    assert dask_config(Settings(monitoring={"textfile": "run.prom"}))[key] == []
    assert metrics not in dask_config(Settings(cluster=remote))[key]
    assert key not in dask_config(Settings(cluster=remote, monitoring={"port": 9410}))


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("monitoring.pushgateway=http://user:canary-7@gateway:9091", "monitoring.pushgateway"),
        ("monitoring.pushgateway=http://gateway:9091?token=canary-7", "monitoring.pushgateway"),
        ("monitoring.pushgateway=gateway:9091", "monitoring.pushgateway"),
        ("monitoring.textfile=run.txt", "monitoring.textfile"),
        ("monitoring.port=0", "monitoring.port"),
        ("monitoring.port=70000", "monitoring.port"),
        ("monitoring.job=", "monitoring.job"),
    ],
)
def test_invalid_settings_are_refused(text: str, setting: str) -> None:
    with pytest.raises(SettingsError, match=setting) as refused:
        load_settings(None, [text], {})

    assert "canary-7" not in str(refused.value)
