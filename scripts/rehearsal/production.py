"""The way of a deployment into production, step by step, as ``deploy/README.md`` tells it.

Covers what is asked of the ``run`` service, with which exit code it ends and what it says; and who is told of trouble.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from scripts.rehearsal.job import OVERRIDES
from scripts.rehearsal.roots import User

URLS_FILE: Final = "/etc/enrich-dist/alerts/urls"
"""The file of addresses as containers see it."""
PATIENCE_SECONDS: Final = 900.0
_SETTINGS: Final = tuple(part for text in OVERRIDES for part in ("--set", text))
_REPEATS: Final = "2"  # more tell a change from chance; here it is only to be there

WAY: Final[tuple[tuple[str, tuple[str, ...], int, tuple[str, ...]], ...]] = (
    ("in production a run is refused", ("run", *_SETTINGS), 5, ("/data/work/readiness/readiness.json does not exist",)),
    ("a preflight says what is missing", ("preflight", *_SETTINGS), 5, ("Not ready for production: baseline",)),
    ("compose run run bench run", ("bench", "run", "--repeats", _REPEATS, *_SETTINGS), 0, ("Records in",)),
    ("compose run run bench baseline", ("bench", "baseline", *_SETTINGS), 0, ("Baseline: 2 runs",)),
    (
        "compose run run preflight",
        ("preflight", "--send-test-notification", *_SETTINGS),
        0,
        ("Ready for production: all critical checks hold",),
    ),
    ("in production the run is let in", ("run", *_SETTINGS), 0, ("published",)),
)
"""What is done, the service's command, its exit code, and what it says."""


def alerts_folder(folder: Path) -> Path:
    """The folder of the file of addresses, empty."""
    folder.mkdir()
    return folder


@contextmanager
def listening(address: str, alerts: Path, reader: User) -> Iterator[list[bytes]]:
    """Take messages at the address, which is written to the file of addresses; yields those that have come."""
    told: list[bytes] = []

    class _Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: what has come is in the list."""

    with ThreadingHTTPServer((address, 0), _Handler) as server:
        file = alerts / "urls"
        file.write_text(f"json://{address}:{server.server_address[1]}/alerts\n", "utf-8")
        file.chmod(0o600)
        os.chown(file, reader.uid, reader.gid)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
