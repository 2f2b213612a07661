"""Export metrics: an HTTP endpoint to scrape, a text file for node_exporter, or a Pushgateway.

Errors propagate to ``run_monitor``, which turns them into warnings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from enrich_dist.core.owned_files import begins_with, require_replaceable
from enrich_dist.monitoring.prometheus.metrics import PREFIX, MetricValues

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

DASK_TARGETS: Final = "/dask-targets"
_PUSH_SECONDS = 5.0
_JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class _Collector(Collector):
    """Collects the families of the values, as a registry requires."""

    values: MetricValues
    live: bool

    def collect(self) -> Iterator[Metric]:
        return self.values.families(live=self.live)


def make_registry(values: MetricValues, *, live: bool) -> CollectorRegistry:
    """Return a registry of all metrics that have values; live ones only if ``live``."""
    registry = CollectorRegistry()
    registry.register(_Collector(values, live))
    return registry


class Endpoint:
    """Serve all metrics at ``/metrics``, and the addresses of Dask's own metrics at ``DASK_TARGETS``.

    Their ports differ from run to run, so Prometheus finds them by HTTP service discovery.
    """

    def __init__(
        self, values: MetricValues, address: str, port: int, dask_addresses: Callable[[], Iterable[str]]
    ) -> None:
        """Start serving. Raises ``OSError`` when the address is not available."""
        registry = make_registry(values, live=True)
        ProcessCollector(registry=registry)  # memory and CPU of the driver
        self._metrics = make_wsgi_app(registry)
        self._dask_addresses = dask_addresses
        self._server, self._thread = start_http_server(port, address, registry)
        self._server.set_app(self._respond)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_JOIN_SECONDS)

    def _respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != DASK_TARGETS:
            answer: Any = self._metrics(environ, start_response)
            return list(answer)
        start_response("200 OK", [("Content-Type", "application/json")])
        targets = list(self._dask_addresses())
        return [json.dumps([{"targets": targets}] if targets else []).encode("utf-8")]


def write_textfile(values: MetricValues, path: Path) -> None:
    """Write the metrics that remain after a run, atomically: node_exporter does not read the temporary file."""
    require_replaceable(path, option="monitoring.textfile", is_ours=begins_with(f"# HELP {PREFIX}"))
    write_to_textfile(str(path), make_registry(values, live=False))


def push(values: MetricValues, gateway: str, job: str) -> None:
    """Push the metrics that remain after a run. Other metrics of the job stay in the Pushgateway."""
    pushadd_to_gateway(gateway, job=job, registry=make_registry(values, live=False), timeout=_PUSH_SECONDS)
