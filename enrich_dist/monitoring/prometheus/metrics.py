"""Which metrics there are, and the values they have now.

A metric has no value until it is given one: a rate that is not known yet must not be scraped as 0. Names and units
follow Prometheus' conventions (base units, ``_total`` for counters alone). No label has a value per chunk or award.
Does not cover where values come from (``records``, ``listener``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

PREFIX: Final = "enrich_dist_"
OUTCOMES: Final = ("published", "blocked", "failed", "unpublished")


@dataclass(frozen=True)
class Metric:
    """A metric: its name without ``PREFIX``, and what it tells. ``live``: only while the run works."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    counter: bool = False
    live: bool = False

    @property
    def full_name(self) -> str:
        """As Prometheus knows it."""
        return PREFIX + self.name


METRICS: Final = (
    Metric("run_info", "The latest run, with the value 1.", ("run_id", "version", "cluster_kind")),
    Metric("run_start_timestamp_seconds", "When the latest run began, since 1970."),
    Metric("run_end_timestamp_seconds", "When the latest run ended, since 1970; absent while it works."),
    Metric("run_outcome", "1 for how the latest run ended, 0 for the other outcomes.", ("outcome",)),
    Metric("run_duration_seconds", "Wall time of all steps of the latest run."),
    Metric("last_success_timestamp_seconds", "When a result was last published from this work directory, since 1970."),
    Metric("step_duration_seconds", "Wall time of the step.", ("step",)),
    Metric("step_rows", "Rows of the step's output.", ("step",)),
    Metric("step_reused", "1 where a valid output was there already and nothing was computed.", ("step",)),
    Metric("step_peak_memory_bytes", "Most resident memory of the driver during the step.", ("step",)),
    Metric("farm_chunks", "Chunks of the result, by whether this run computed them.", ("origin",)),
    Metric("farm_duration_seconds", "Wall time in which chunks were out, without the wait for the cluster."),
    Metric("farm_records_per_second", "Recipients matched per second in which chunks were out; absent if none was."),
    Metric("farm_failed_attempts", "Attempts at chunks that failed in the latest run.", ("kind",)),
    Metric("farm_worker_restarts", "How often workers were started again in the latest run."),
    Metric("farm_degradations", "How often batches were halved as a worker came near its memory limit."),
    Metric("quarantined_rows", "Recipients that were set aside because matching them raises an error."),
    Metric("worker_peak_memory_bytes", "Most resident memory of any worker during any chunk of the result."),
    Metric("worker_projected_peak_memory_bytes", "What was projected for that, before the chunks were farmed out."),
    Metric("worker_memory_threshold_bytes", "memory_threshold_mb of the settings."),
    Metric("verdict_passed", "1 where the latest result passed the quality gate, 0 where it was blocked."),
    Metric("check_passed", "1 where the latest result passed this check of the verdict.", ("check",)),
    Metric("match_rate", "Awards with an accepted match over all valid awards."),
    Metric("match_rate_threshold", "Least match rate of a result that may be published."),
    Metric("estimated_precision", "Accepted matches that are right by their own probabilities; 1 if none is accepted."),
    Metric("estimated_precision_threshold", "Least estimated precision of a result that may be published."),
    Metric("estimated_recall", "Right matches over companies expected to have a partner; 0 if it cannot be told."),
    Metric("quarantined_share", "Recipients that were set aside over all that were read."),
    Metric("quarantined_share_threshold", "Largest share set aside of a result that may be published."),
    Metric("awards", "Valid awards of the latest result.", ("status",)),
    Metric("companies", "Companies of the latest result.", ("status",)),
    Metric("awards_matched", "Awards with an accepted match, by what it rests on.", ("method",)),
    Metric("run_active", "1 while the run works.", live=True),
    Metric("step_active", "1 for the step that is under way.", ("step",), live=True),
    Metric("last_progress_timestamp_seconds", "When a step began or ended, or a chunk was finished, last.", live=True),
    Metric("progress_timeout_seconds", "timeout_seconds of the settings: the most one chunk may take.", live=True),
    Metric("progress_chunks", "Chunks to be matched.", live=True),
    Metric("progress_chunks_done", "Chunks that are finished.", live=True),
    Metric("progress_chunks_resumed", "Of those, chunks that were finished before this run.", live=True),
    Metric("progress_records", "Recipients to be matched.", live=True),
    Metric("progress_records_done", "Recipients of finished chunks.", live=True),
    Metric(
        "progress_records_per_second", "Recipients matched per second as it goes now; 0 before the first.", live=True
    ),
    Metric("progress_remaining_seconds", "Estimate for what is left; absent before the first chunk.", live=True),
    Metric("progress_awards", "Valid awards.", live=True),
    Metric("progress_awards_matched", "Awards that would be accepted by the chunks finished so far.", live=True),
    Metric(
        "progress_projected_match_rate",
        "Match rate to be expected at the end, with the ends of its 95% interval; absent before a tenth of the work.",
        ("bound",),
        live=True,
    ),
    Metric("worker_threads", "Threads of all workers that are there.", live=True),
    Metric("worker_memory_bytes", "Resident memory of the worker.", ("worker",), live=True),
    Metric("worker_memory_limit_bytes", "The worker's memory limit; 0 if it has none.", ("worker",), live=True),
    Metric("worker_paused", "1 where the worker takes no work for want of memory.", ("worker",), live=True),
    Metric("worker_restarts_total", "How often the worker was started again.", ("worker",), counter=True, live=True),
    Metric("attempts_total", "Attempts at chunks that have ended.", ("outcome",), counter=True, live=True),
    Metric("warnings_total", "Warnings that the run gave.", counter=True, live=True),
)
_BY_NAME: Final = {metric.name: metric for metric in METRICS}


class Figures:
    """The values of the metrics now; may be read and changed from any thread.

    A name that is no metric, or labels that are not its own, raise ``KeyError``.
    """

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {}
        self._lock = threading.Lock()

    def set(self, name: str, value: float | None, **labels: str) -> None:
        """Give a metric its value; None takes it away."""
        key = _key(name, labels)
        with self._lock:
            if value is None:
                self._values.get(name, {}).pop(key, None)
            else:
                self._values.setdefault(name, {})[key] = float(value)

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Count up."""
        key = _key(name, labels)
        with self._lock:
            values = self._values.setdefault(name, {})
            values[key] = values.get(key, 0.0) + amount

    def replace(self, name: str, values: Mapping[str, float]) -> None:
        """Give a metric with one label all its values anew: those of before are gone."""
        if len(_BY_NAME[name].labels) != 1:
            raise KeyError(name)
        with self._lock:
            self._values[name] = {(label,): float(value) for label, value in values.items()}

    def value(self, name: str, **labels: str) -> float | None:
        """The value now; None where there is none."""
        key = _key(name, labels)
        with self._lock:
            return self._values.get(name, {}).get(key)

    def families(self, *, live: bool) -> Iterator[Family]:
        """All that has a value, for ``prometheus_client``; with what tells of a run at work only if ``live``."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        with self._lock:
            values = {name: dict(found) for name, found in self._values.items()}
        for metric in METRICS:
            if not values.get(metric.name) or (metric.live and not live):
                continue
            kind = CounterMetricFamily if metric.counter else GaugeMetricFamily
            family = kind(metric.full_name, metric.text, labels=metric.labels)
            for labels, value in sorted(values[metric.name].items()):
                family.add_metric(labels, value)
            yield family

    def collector(self, *, live: bool) -> Collector:
        """``families`` as what a registry of ``prometheus_client`` takes."""
        from prometheus_client.registry import Collector

        figures = self

        class _Collector(Collector):
            def collect(self) -> Iterator[Family]:
                return figures.families(live=live)

        return _Collector()


def _key(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    wanted = _BY_NAME[name].labels
    if set(wanted) != set(labels):
        raise KeyError(f"{name} has the labels {wanted}, not {tuple(labels)}")
    return tuple(labels[label] for label in wanted)
