"""Prometheus, Pushgateway and node_exporter for tests, with the configuration in ``deploy/monitoring``.

Debian: apt-get install --no-install-recommends prometheus prometheus-pushgateway prometheus-node-exporter. Only ports,
intervals and paths differ.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY, free_port
from tests.support.hosts import wait_until

MONITORING = REPOSITORY / "deploy" / "monitoring"
PROGRAMS = ("prometheus", "promtool", "prometheus-pushgateway", "prometheus-node-exporter")
_ENDPOINT, _PUSHGATEWAY, _NODE = "127.0.0.1:9410", "127.0.0.1:9091", "127.0.0.1:9100"
_INTERVAL = "500ms"


def missing_programs() -> list[str]:
    """Return the programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def promtool(*arguments: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)


def read(url: str) -> str:
    """Return the body of a response, without a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode("utf-8")


@dataclass(frozen=True)
class Servers:
    """Prometheus, which scrapes the others. ``endpoint_port`` is free for the metrics of a run."""

    port: int
    endpoint_port: int
    pushgateway: str
    textfile: Path
    started_seconds: float

    def api(self, path: str, **parameters: str) -> Any:
        """Return the data of an HTTP API response. Raises if it is not a success."""
        answer = json.loads(read(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def series(self, query: str) -> list[dict[str, Any]]:
        """Return the results of a query since the server started."""
        found: list[dict[str, Any]] = self.api(
            "query_range", query=query, start=str(self.started_seconds), end=str(time.time()), step="1"
        )["result"]
        return found

    def fired(self, alert: str) -> list[dict[str, Any]]:
        """Return the series of an alert that fires or fired."""
        return self.series(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')


def _configuration(ports: dict[str, int]) -> dict[str, Any]:
    text = (MONITORING / "prometheus.yml").read_text("utf-8")
    for address, port in ports.items():
        assert address in text
        text = text.replace(address, f"127.0.0.1:{port}")
    document: dict[str, Any] = yaml.safe_load(text)
    document["global"] = dict.fromkeys(document["global"], _INTERVAL)
    document["rule_files"] = [str(MONITORING / pattern) for pattern in document["rule_files"]]
    for scrape in document["scrape_configs"]:
        scrape["scrape_interval"] = _INTERVAL
        for discovery in scrape.get("http_sd_configs", []):
            discovery["refresh_interval"] = "1s"
    return document


@contextmanager
def _process(log: Path, *command: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    with suppress(OSError):
        read(url)
        return True
    return False


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """Start all three servers, and stop them at the end."""
    ports = {address: free_port() for address in (_ENDPOINT, _PUSHGATEWAY, _NODE)}
    port, textfiles = free_port(), folder / "textfiles"
    textfiles.mkdir(parents=True)
    configuration = folder / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(_configuration(ports)), "utf-8")
    with ExitStack() as stack:
        for name, *command in (
            ("pushgateway", "prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{ports[_PUSHGATEWAY]}"),
            (
                "node-exporter", "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{ports[_NODE]}",
                "--collector.disable-defaults", "--collector.textfile",
                f"--collector.textfile.directory={textfiles}",
            ),
            (
                "prometheus", "prometheus", f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
            ),
        ):  # fmt: skip
            stack.enter_context(_process(folder / f"{name}.log", *command))
        for url in (
            f"http://127.0.0.1:{ports[_PUSHGATEWAY]}/-/ready",
            f"http://127.0.0.1:{ports[_NODE]}/metrics",
            f"http://127.0.0.1:{port}/-/ready",
        ):
            wait_until(lambda url=url: _answers(url), url)  # type: ignore[misc]
        yield Servers(
            port=port,
            endpoint_port=ports[_ENDPOINT],
            pushgateway=f"http://127.0.0.1:{ports[_PUSHGATEWAY]}",
            textfile=textfiles / "enrich_dist.prom",
            started_seconds=time.time(),
        )
