"""Monitor one run: set its metrics from start to end, and export them as the settings say.

A failure of monitoring is a warning and does not affect the run. Without monitoring settings nothing happens, and
``prometheus_client`` is not imported.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from enrich_dist import __version__
from enrich_dist.events import listening, warning_on_error
from enrich_dist.monitoring.prometheus.metrics import MetricValues
from enrich_dist.monitoring.prometheus.updates import (
    MetricsListener,
    latest_steps,
    set_last_success,
    set_limits,
    set_outcome,
    set_step,
)
from enrich_dist.runs.limits import all_limits
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
        values, settings, monitoring = self._values, self._settings, self._settings.monitoring
        if not monitoring.given:
            return
        with warning_on_error("The run is not monitored"):
            listener = MetricsListener(values, self._directory, settings.performance)
            values.set("run_info", 1, run_id=self._run_id, version=__version__, cluster_kind=settings.cluster.kind)
            values.set("run_active", 1)
            values.set("run_start_timestamp_seconds", time.time())
            values.set("progress_timeout_seconds", settings.timeout_seconds)
            # Steps that this run does not reach keep the values of earlier runs.
            set_last_success(values, self._directory)
            for report in latest_steps(self._directory).values():
                with warning_on_error(f"No metrics of the earlier step {report.step}"):
                    set_step(values, report)
            self._stack.enter_context(listening(listener))
            self._listener = listener
            if monitoring.port is not None:
                with warning_on_error(f"Metrics cannot be served at {monitoring.address}:{monitoring.port}"):
                    from enrich_dist.monitoring.prometheus.export import Endpoint

                    endpoint = Endpoint(values, monitoring.address, monitoring.port, lambda: listener.dask_addresses)
                    self._stack.callback(endpoint.close)

    def stop(self) -> None:
        """Export the metrics that remain after the run, and stop serving."""
        values, monitoring = self._values, self._settings.monitoring
        if self._listener is None:
            return
        with warning_on_error("The metrics lack the end of the run"):
            values.set("run_active", 0)
            values.set("run_end_timestamp_seconds", time.time())
            set_last_success(values, self._directory)
            reports = self._directory.reports_of(self._run_id)
            budget_mb = self._settings.driver_memory_mb
            limits = all_limits(reports, self._run_id, self._settings.performance, driver_memory_mb=budget_mb)
            set_limits(values, limits)
            failed = self._listener.active_step is not None
            set_outcome(values, latest_steps(self._directory), self._run_id, failed=failed)
        from enrich_dist.monitoring.prometheus.export import push, write_textfile

        if monitoring.textfile is not None:
            with warning_on_error(f"Metrics could not be written to {monitoring.textfile}"):
                write_textfile(values, monitoring.textfile)
        if monitoring.pushgateway is not None:
            with warning_on_error(f"Metrics could not be pushed to the Pushgateway at {monitoring.pushgateway}"):
                push(values, monitoring.pushgateway, monitoring.job)
        with warning_on_error("The metrics server could not be stopped"):
            self._stack.close()
