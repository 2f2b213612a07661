"""The ways in which figures leave: an HTTP endpoint to be scraped, a file for node_exporter, a Pushgateway.

Raises what the way raises; that a run is not harmed is seen to by ``monitoring``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    make_wsgi_app,
    pushadd_to_gateway,
    start_http_server,
    write_to_textfile,
)

from enrich_dist.monitoring.prometheus.metrics import Figures

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

DASK_TARGETS: Final = "/dask-targets"
# A run that has ended waits for nobody for longer.
_PUSH_SECONDS = 5.0
_JOIN_SECONDS = 5.0


class Endpoint:
    """Serves all figures at ``/metrics``, and at ``DASK_TARGETS`` where Dask's own are, as Prometheus' HTTP service
    discovery reads it: their ports are others in every run."""

    def __init__(self, figures: Figures, address: str, port: int, dask_addresses: Callable[[], Iterable[str]]) -> None:
        """Raises ``OSError`` where nobody can listen there."""
        registry = CollectorRegistry()
        registry.register(figures.collector(live=True))
        ProcessCollector(registry=registry)  # of the driver, by the names that all exporters use
        self._metrics = make_wsgi_app(registry)
        self._dask_addresses = dask_addresses
        self._server, self._thread = start_http_server(port, address, registry)
        self._server.set_app(self._answer)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_JOIN_SECONDS)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != DASK_TARGETS:
            answer: Any = self._metrics(environ, start_response)
            return list(answer)
        start_response("200 OK", [("Content-Type", "application/json")])
        targets = list(self._dask_addresses())
        return [json.dumps([{"targets": targets}] if targets else []).encode("utf-8")]


def write_textfile(figures: Figures, path: Path) -> None:
    """Write what is left of a run, whole or not at all. The name of the unfinished file is one that node_exporter does
    not read."""
    write_to_textfile(str(path), _kept(figures))


def push(figures: Figures, gateway: str, job: str) -> None:
    """Hand what is left of a run to the Pushgateway. What it has of this job under other names stays: the metrics that
    this run knows nothing of."""
    pushadd_to_gateway(gateway, job=job, registry=_kept(figures), timeout=_PUSH_SECONDS)


def _kept(figures: Figures) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(figures.collector(live=False))
    return registry
