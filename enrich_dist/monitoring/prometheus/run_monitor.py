"""Monitor one run: set its metrics from start to end, and export them as the settings say.

A failure of monitoring is a warning and does not affect the run. Without monitoring settings nothing happens, and
``prometheus_client`` is not imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from enrich_dist import __version__
from enrich_dist.events import Notice, emit, listening
from enrich_dist.monitoring.prometheus.metrics import MetricValues
from enrich_dist.monitoring.prometheus.updates import (
    MetricsListener,
    latest_steps,
    set_last_success,
    set_outcome,
    set_step,
)
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import RunDirectory


class RunMonitor:
    """Call ``start()`` before a run and ``stop()`` after it, also when it failed."""

    def __init__(self, directory: RunDirectory, settings: Settings, run_id: str) -> None:
        self._directory = directory
        self._settings = settings
        self._run_id = run_id
        self._stack = ExitStack()
        self._values = MetricValues()
        self._listener: MetricsListener | None = None

    def start(self) -> None:
        """Listen to the run, and serve its metrics from now on."""
        if self._settings.monitoring.given:
            _warn_on_error("The run is not monitored", self._start)

    def stop(self) -> None:
        """Export the metrics that remain after the run, and stop serving."""
        listener = self._listener
        if listener is None:
            return
        _warn_on_error("The metrics lack the end of the run", partial(self._set_end, listener))
        from enrich_dist.monitoring.prometheus.export import push, write_textfile

        monitoring = self._settings.monitoring
        path, gateway = monitoring.textfile, monitoring.pushgateway
        if path is not None:
            _warn_on_error(f"Metrics could not be written to {path}", partial(write_textfile, self._values, path))
        if gateway is not None:
            problem = f"Metrics could not be pushed to the Pushgateway at {gateway}"
            _warn_on_error(problem, partial(push, self._values, gateway, monitoring.job))
        _warn_on_error("The metrics server could not be stopped", self._stack.close)

    def _start(self) -> None:
        values, monitoring = self._values, self._settings.monitoring
        listener = MetricsListener(values, self._directory)
        values.set("run_info", 1, run_id=self._run_id, version=__version__, cluster_kind=self._settings.cluster.kind)
        values.set("run_active", 1)
        values.set("run_start_timestamp_seconds", time.time())
        values.set("progress_timeout_seconds", self._settings.timeout_seconds)
        # Steps that this run does not reach keep the values of earlier runs.
        set_last_success(values, self._directory)
        for report in latest_steps(self._directory).values():
            _warn_on_error(f"No metrics of the earlier step {report.step}", partial(set_step, values, report))
        self._stack.enter_context(listening(listener))
        self._listener = listener
        if monitoring.port is not None:
            where = f"{monitoring.address}:{monitoring.port}"
            _warn_on_error(
                f"Metrics cannot be served at {where}",
                partial(self._serve, listener, monitoring.address, monitoring.port),
            )

    def _serve(self, listener: MetricsListener, address: str, port: int) -> None:
        from enrich_dist.monitoring.prometheus.export import Endpoint

        endpoint = Endpoint(self._values, address, port, lambda: listener.dask_addresses)
        self._stack.callback(endpoint.close)

    def _set_end(self, listener: MetricsListener) -> None:
        self._values.set("run_active", 0)
        self._values.set("run_end_timestamp_seconds", time.time())
        set_last_success(self._values, self._directory)
        reports = latest_steps(self._directory)
        set_outcome(self._values, reports, self._run_id, failed=listener.active_step is not None)


def _warn_on_error(problem: str, action: Callable[[], None]) -> None:
    try:
        action()
    except Exception as error:  # noqa: BLE001  # monitoring must not fail a run
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        emit(Notice(f"{problem} ({detail}).", warning=True))
