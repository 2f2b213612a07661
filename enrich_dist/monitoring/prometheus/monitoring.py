"""The monitoring of one run, from its beginning to its end, in the ways that the settings ask for.

A figure is worth less than the run: whatever goes wrong is told as a warning and harms nothing. Where no way is set,
nothing is done and nothing imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from enrich_dist import __version__
from enrich_dist.events import Notice, emit, listening
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import RunDirectory

if TYPE_CHECKING:
    from enrich_dist.monitoring.prometheus.export import Endpoint
    from enrich_dist.monitoring.prometheus.listener import FiguresListener
    from enrich_dist.monitoring.prometheus.metrics import Figures


class Monitoring:
    """``begin()`` when the run begins, ``end()`` when it has ended, however it did."""

    def __init__(self, directory: RunDirectory, settings: Settings, run_id: str) -> None:
        self._directory = directory
        self._settings = settings
        self._run_id = run_id
        self._stack = ExitStack()
        self._figures: Figures | None = None
        self._listener: FiguresListener | None = None

    def begin(self) -> None:
        """Listen to the run, and serve its figures from now on."""
        if self._settings.monitoring.given:
            _harmless("The run is not monitored", self._begin)

    def end(self) -> None:
        """Hand over what is left of the run, and stop serving."""
        monitoring = self._settings.monitoring
        figures, listener = self._figures, self._listener
        if figures is None or listener is None:
            return
        _harmless("The run's end is missing in its figures", partial(self._show_end, figures, listener))
        # Only here: without any way set, prometheus_client is not imported.
        from enrich_dist.monitoring.prometheus.export import push, write_textfile

        path, gateway = monitoring.textfile, monitoring.pushgateway
        if path is not None:
            _harmless(f"The figures could not be written to {path}", partial(write_textfile, figures, path))
        if gateway is not None:
            what = f"The figures could not be handed to the Pushgateway at {gateway}"
            _harmless(what, partial(push, figures, gateway, monitoring.job))
        _harmless("The monitoring could not be closed", self._stack.close)

    def _begin(self) -> None:
        from enrich_dist.monitoring.prometheus.listener import FiguresListener
        from enrich_dist.monitoring.prometheus.metrics import Figures
        from enrich_dist.monitoring.prometheus.records import latest_steps, show_last_success, show_step

        figures = Figures()
        listener = FiguresListener(figures, self._directory)
        figures.set(
            "run_info",
            1,
            run_id=self._run_id,
            version=__version__,
            cluster_kind=self._settings.cluster.kind,
        )
        figures.set("run_active", 1)
        figures.set("run_start_timestamp_seconds", time.time())
        figures.set("progress_timeout_seconds", self._settings.timeout_seconds)
        # What a run does not come to stays as it was: a result that was published yesterday is there still.
        show_last_success(figures, self._directory)
        for report in latest_steps(self._directory).values():
            _harmless(f"An earlier '{report.step}' has no figures", partial(show_step, figures, report))
        self._stack.enter_context(listening(listener))
        self._figures, self._listener = figures, listener
        port = self._settings.monitoring.port
        if port is not None:
            address = self._settings.monitoring.address
            _harmless(
                f"The figures cannot be scraped at {address}:{port}",
                partial(self._serve, figures, listener, address, port),
            )

    def _serve(self, figures: Figures, listener: FiguresListener, address: str, port: int) -> None:
        from enrich_dist.monitoring.prometheus.export import Endpoint

        endpoint: Endpoint = Endpoint(figures, address, port, lambda: listener.dask_addresses)
        self._stack.callback(endpoint.close)

    def _show_end(self, figures: Figures, listener: FiguresListener) -> None:
        from enrich_dist.monitoring.prometheus.records import latest_steps, show_last_success, show_outcome

        figures.set("run_active", 0)
        figures.set("run_end_timestamp_seconds", time.time())
        show_last_success(figures, self._directory)
        reports = latest_steps(self._directory)
        show_outcome(figures, reports, self._run_id, failed=listener.step_under_way is not None)


def _harmless(what: str, action: Callable[[], None]) -> None:
    try:
        action()
    except Exception as error:  # noqa: BLE001  # see the module's docstring
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        emit(Notice(f"{what} ({problem}).", warning=True))
