"""Readiness files as a preflight leaves them where all items hold, and a vulnerability database that speaks OSV."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from enrich_dist.preflight.catalog import CHECKS
from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Outcome, passed
from enrich_dist.preflight.readiness_file import readiness_folder, write_readiness
from enrich_dist.preflight.report import Report, markdown, to_document
from enrich_dist.preflight.runner import run_checks
from enrich_dist.settings import LoadedSettings, Settings


def loaded_of(settings: Settings) -> LoadedSettings:
    """Settings of which nobody knows where they came from."""
    return LoadedSettings(settings, {})


def _finding(finding: Outcome, _: PreflightContext) -> Outcome:
    return finding


def a_report(settings: Settings, *, now: datetime | None = None, **findings: Outcome) -> Report:
    """The report on this code and the settings: all items have passed, but for those given by their ids."""
    assert set(findings) <= {item.id for item in CHECKS}
    usual = passed("As it should be.")
    items = [replace(item, check=partial(_finding, findings.get(item.id, usual))) for item in CHECKS]
    with PreflightContext(loaded_of(settings), now=now) as context:
        return run_checks(context, items=items)


def make_ready(settings: Settings, *, now: datetime | None = None, **findings: Outcome) -> Path:
    """Leave the readiness file of ``a_report`` where the gate looks for it."""
    report = a_report(settings, now=now, **findings)
    return write_readiness(readiness_folder(settings.paths.work_dir), to_document(report), markdown(report))


@contextmanager
def vulnerability_database(**known: str) -> Iterator[str]:
    """A real HTTP server that answers as OSV does; ``known``: packages with the id of a hole in each. Yields its URL;
    any other path of it is broken."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            name = asked["package"]["name"]
            affected = {
                "package": {"name": name, "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
            }
            answer = (
                {"vulns": [{"id": known[name], "summary": "a hole", "affected": [affected]}]} if name in known else {}
            )
            body = json.dumps(answer).encode()
            self.send_response(200 if self.path == "/v1/query" else 500)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
        finally:
            server.shutdown()
            thread.join()
