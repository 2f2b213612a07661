"""HTTP and SMTP servers that record the notifications they receive."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Listener:
    """Received posts in order; ``status`` is that of the next responses."""

    port: int
    posts: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    status: int = 200

    def url(self, path: str = "") -> str:
        return f"json://127.0.0.1:{self.port}/{path}"

    def taken(self) -> list[dict[str, Any]]:
        """Return the posts since the last call."""
        found = list(self.posts)
        self.posts.clear()
        return found


@contextmanager
def listening_for_posts() -> Iterator[Listener]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            listener.paths.append(self.path)
            if listener.status == 200:
                listener.posts.append(json.loads(body))
            self.send_response(listener.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        listener = Listener(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            server.shutdown()
            thread.join()


def write_urls(path: Path, *lines: str) -> Path:
    """Write an address file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    path.chmod(0o600)
    return path


@contextmanager
def listening_for_mail() -> Iterator[tuple[int, list[str]]]:
    """Run an SMTP server; yields its port and the mails that it receives."""
    mails: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def answer(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self) -> None:
            self.answer("220 here")
            while line := self.rfile.readline().decode().strip().upper():
                if line == "DATA":
                    self.answer("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
                    mails.append("\n".join(lines))
                self.answer("221 bye" if line == "QUIT" else "250 ok")
                if line == "QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1], mails
        finally:
            server.shutdown()
            thread.join()
