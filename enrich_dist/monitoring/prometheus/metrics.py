"""The Prometheus metrics and their current values.

A metric has no value until one is set, so that an unknown rate is not scraped as 0. Names and units follow Prometheus'
conventions: base units, and ``_total`` for counters only. No label has a value per chunk or award.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

PREFIX: Final = "enrich_dist_"
OUTCOMES: Final = ("published", "blocked", "failed", "unpublished")


@dataclass(frozen=True)
class Metric:
    """A metric, named without ``PREFIX``; ``text`` is its help text. ``live``: exposed only while a run is active."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    counter: bool = False
    live: bool = False

    @property
    def full_name(self) -> str:
        """Name in Prometheus."""
        return PREFIX + self.name


METRICS: Final = (
    Metric("run_info", "The latest run; always 1.", ("run_id", "version", "cluster_kind")),
    Metric("run_start_timestamp_seconds", "Start of the latest run, in seconds since 1970."),
    Metric("run_end_timestamp_seconds", "End of the latest run, in seconds since 1970; absent while it is active."),
    Metric("run_outcome", "1 for the outcome of the latest run, 0 for the others.", ("outcome",)),
    Metric("run_duration_seconds", "Wall time of all steps of the latest run."),
    Metric("last_success_timestamp_seconds", "Last publication from this work directory, in seconds since 1970."),
    Metric("step_duration_seconds", "Wall time of the step.", ("step",)),
    Metric("step_rows", "Rows of the step's output.", ("step",)),
    Metric("step_reused", "1 if the step reused a valid output and computed nothing.", ("step",)),
    Metric("step_peak_memory_bytes", "Peak resident memory of the driver during the step.", ("step",)),
    Metric("farm_chunks", "Chunks of the result, by origin: computed by this run, or resumed.", ("origin",)),
    Metric("farm_duration_seconds", "Wall time of matching, without waiting for the cluster."),
    Metric("farm_records_per_second", "Recipients matched per second of matching; absent if no chunk was computed."),
    Metric("farm_failed_attempts", "Failed attempts in the latest run.", ("kind",)),
    Metric("farm_worker_restarts", "Worker restarts in the latest run."),
    Metric("farm_degradations", "Times a batch was halved because a worker came near its memory limit."),
    Metric("quarantined_rows", "Recipients quarantined because matching them raises an error."),
    Metric("worker_peak_memory_bytes", "Highest peak resident memory of a worker, over all chunks of the result."),
    Metric("worker_projected_peak_memory_bytes", "Projected peak memory of a worker, before matching."),
    Metric("worker_memory_threshold_bytes", "The setting memory_threshold_mb."),
    Metric("limit_threshold", "A limit under the setting performance, in seconds or bytes.", ("scope", "limit")),
    Metric("limit_value", "Time or memory that has the limit, in seconds or bytes.", ("scope", "limit")),
    Metric("limit_ratio", "Value over limit; above 1 the limit is exceeded.", ("scope", "limit")),
    Metric("limit_error_ratio", "The setting performance.error_ratio."),
    Metric("verdict_passed", "1 if the latest result passed the quality gate, 0 if it was blocked."),
    Metric("check_passed", "1 if the latest result passed this check of the verdict.", ("check",)),
    Metric("match_rate", "Awards with an accepted match over all valid awards."),
    Metric("match_rate_threshold", "Minimum match rate for publication."),
    Metric("estimated_precision", "Precision estimated from the match probabilities; 1 if no match is accepted."),
    Metric("estimated_precision_threshold", "Minimum estimated precision for publication."),
    Metric("estimated_recall", "Recall estimated from the match probabilities; 0 if it cannot be estimated."),
    Metric("quarantined_share", "Quarantined recipients over all recipients read."),
    Metric("quarantined_share_threshold", "Maximum quarantined share for publication."),
    Metric("awards", "Valid awards of the latest result.", ("status",)),
    Metric("companies", "Companies of the latest result.", ("status",)),
    Metric("awards_matched", "Awards with an accepted match, by match method.", ("method",)),
    Metric("run_active", "1 while the run is active.", live=True),
    Metric("step_active", "1 for the active step.", ("step",), live=True),
    Metric("last_progress_timestamp_seconds", "Last start or end of a step, or end of a chunk, since 1970.", live=True),
    Metric("progress_timeout_seconds", "The setting timeout_seconds: maximum time of one chunk.", live=True),
    Metric("progress_chunks", "Chunks to match.", live=True),
    Metric("progress_chunks_done", "Finished chunks.", live=True),
    Metric("progress_chunks_resumed", "Finished chunks that an earlier run computed.", live=True),
    Metric("progress_records", "Recipients to match.", live=True),
    Metric("progress_records_done", "Recipients in finished chunks.", live=True),
    Metric("progress_records_per_second", "Recent matching rate; 0 before the first finished chunk.", live=True),
    Metric("progress_remaining_seconds", "Estimated time remaining; absent before the first chunk.", live=True),
    Metric("progress_awards", "Valid awards.", live=True),
    Metric("progress_awards_matched", "Awards with an acceptable match in the finished chunks.", live=True),
    Metric(
        "progress_projected_match_rate",
        "Projected final match rate and its 95% interval; absent until a tenth of the work is done.",
        ("bound",),
        live=True,
    ),
    Metric("worker_threads", "Threads of all workers.", live=True),
    Metric("worker_memory_bytes", "Resident memory of the worker.", ("worker",), live=True),
    Metric("worker_memory_limit_bytes", "Memory limit of the worker; 0 if it has none.", ("worker",), live=True),
    Metric("worker_paused", "1 while the worker is paused because of its memory.", ("worker",), live=True),
    Metric("worker_restarts_total", "Restarts of the worker.", ("worker",), counter=True, live=True),
    Metric("attempts_total", "Attempts at chunks that ended.", ("outcome",), counter=True, live=True),
    Metric("warnings_total", "Warnings of the run.", counter=True, live=True),
)
_BY_NAME: Final = {metric.name: metric for metric in METRICS}


class MetricValues:
    """Current values of the metrics; thread-safe.

    An unknown name, or labels that are not those of the metric, raise ``KeyError``.
    """

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {}
        self._lock = threading.Lock()

    def set(self, name: str, value: float | None, **labels: str) -> None:
        """Set a value; None removes it."""
        key = _key(name, labels)
        with self._lock:
            if value is None:
                self._values.get(name, {}).pop(key, None)
            else:
                self._values.setdefault(name, {})[key] = float(value)

    def increment(self, name: str, **labels: str) -> None:
        """Increment a value by 1."""
        key = _key(name, labels)
        with self._lock:
            values = self._values.setdefault(name, {})
            values[key] = values.get(key, 0.0) + 1

    def replace(self, name: str, values: Mapping[str, float]) -> None:
        """Replace all values of a metric that has one label."""
        if len(_BY_NAME[name].labels) != 1:
            raise KeyError(name)
        with self._lock:
            self._values[name] = {(label,): float(value) for label, value in values.items()}

    def families(self, *, live: bool) -> Iterator[Family]:
        """Yield all metrics that have values, for ``prometheus_client``; live ones only if ``live``."""
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


def _key(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    wanted = _BY_NAME[name].labels
    if set(wanted) != set(labels):
        raise KeyError(f"{name} has the labels {wanted}, not {tuple(labels)}")
    return tuple(labels[label] for label in wanted)
