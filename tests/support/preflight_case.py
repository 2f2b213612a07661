"""Readiness files of a preflight whose checks all pass, and a vulnerability database with the OSV API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from enrich_dist.preflight.catalog import CHECKS, Check
from enrich_dist.preflight.context import Outcome, PreflightContext, Report, passed
from enrich_dist.preflight.readiness_file import write_readiness
from enrich_dist.preflight.report import markdown
from enrich_dist.preflight.runner import run_checks
from enrich_dist.settings import LoadedSettings, Settings
from enrich_dist.store.run_directory import RunDirectory


def loaded_of(settings: Settings) -> LoadedSettings:
    """Return settings without origins."""
    return LoadedSettings(settings, {})


def outcome_of(check_id: str, settings: Settings | LoadedSettings, **options: Any) -> Outcome:
    """Run one check in a context with these options."""
    loaded = settings if isinstance(settings, LoadedSettings) else loaded_of(settings)
    with PreflightContext(loaded, **options) as context:
        return outcome_in(context, check_id)


def outcome_in(context: PreflightContext, check_id: str) -> Outcome:
    """Run one check; its remedy is that of the result."""
    [check] = [check for check in CHECKS if check.id == check_id]
    [result] = run_checks(context, checks=[check]).items
    return Outcome(result.status, result.summary, result.facts, result.remedy)


def check_with(check: Check, outcome: Outcome) -> Check:
    """Return the check with this outcome."""
    return replace(check, run=lambda _: outcome, settings_checks=())


def a_report(settings: Settings, *, now: datetime | None = None, **outcomes: Outcome) -> Report:
    """Return a report on this code and the settings; all checks pass except those given by id."""
    assert set(outcomes) <= {check.id for check in CHECKS}
    default = passed("As it should be.")
    checks = [check_with(check, outcomes.get(check.id, default)) for check in CHECKS]
    with PreflightContext(loaded_of(settings), now=now) as context:
        return run_checks(context, checks=checks)


def make_ready(settings: Settings, *, now: datetime | None = None, **outcomes: Outcome) -> Path:
    """Write the readiness file of ``a_report`` to the work directory."""
    report = a_report(settings, now=now, **outcomes)
    return write_readiness(RunDirectory(settings.paths.work_dir).readiness, report, markdown(report))


@contextmanager
def vulnerability_database(**known: str) -> Iterator[str]:
    """Serve the OSV API over HTTP; yield its URL. ``known``: a vulnerability id by package.

    Any other path of the server answers 500.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["content-length"])))
            name = query["package"]["name"]
            affected = {
                "package": {"name": name, "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
            }
            vulnerability = {"id": known.get(name), "summary": "vulnerable", "affected": [affected]}
            body = json.dumps({"vulns": [vulnerability]} if name in known else {}).encode()
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
