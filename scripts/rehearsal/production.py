"""The steps of a deployment into production, as ``deploy/README.md`` describes them.

Covers the commands of the ``run`` service with their exit codes, and the receiver of notifications.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from enrich_dist.errors import EXIT_NOT_READY
from scripts.rehearsal.job import OVERRIDES
from scripts.rehearsal.roots import User

URLS_FILE: Final = "/etc/enrich-dist/alerts/urls"
"""Path of the file of notification URLs in containers."""
TIMEOUT_SECONDS: Final = 900.0
_SETTINGS: Final = tuple(part for text in OVERRIDES for part in ("--set", text))
# Command of the ``run`` service and its exit code.
STEPS: Final[tuple[tuple[str, tuple[str, ...], int], ...]] = (
    ("production refuses a run without a preflight", ("run", *_SETTINGS), EXIT_NOT_READY),
    ("a preflight reports what is missing", ("preflight", *_SETTINGS), EXIT_NOT_READY),
    ("compose run run bench run", ("bench", "run", "--repeats", "2", *_SETTINGS), 0),
    ("compose run run bench baseline", ("bench", "baseline", *_SETTINGS), 0),
    ("compose run run preflight", ("preflight", "--send-test-notification", *_SETTINGS), 0),
    ("production accepts a run", ("run", *_SETTINGS), 0),
)


def alerts_folder(folder: Path) -> Path:
    """Create the directory of the file of notification URLs."""
    folder.mkdir()
    return folder


@contextmanager
def listening(address: str, alerts: Path, reader: User) -> Iterator[list[bytes]]:
    """Receive messages at the address, write its URL to the file, and yield the received messages."""
    received: list[bytes] = []

    class _Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Do not log."""

    with ThreadingHTTPServer((address, 0), _Handler) as server:
        file = alerts / "urls"
        file.write_text(f"json://{address}:{server.server_address[1]}/alerts\n", "utf-8")
        file.chmod(0o600)
        os.chown(file, reader.uid, reader.gid)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()
