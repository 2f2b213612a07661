"""A real object store for tests: OpenStack Swift with its S3 API, started on free ports of the loopback interface.

Debian: apt-get install --no-install-recommends memcached swift-account swift-container swift-object swift-proxy.
One device, one replica, one temporary directory. ``faulty`` is a proxy that lets requests fail.
"""

from __future__ import annotations

import getpass
import http.client
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pyarrow.fs import S3FileSystem

PROGRAMS = ("memcached", "swift-account-server", "swift-container-server", "swift-object-server", "swift-proxy-server")
ACCESS_KEY, SECRET_KEY = "test:tester", "canary-5d1f0c"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_EC2_METADATA_DISABLED": "true",
    # Swift of Debian 12 does not support checksums in trailers.
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
}
BUCKET = "checkpoints"
_START_SECONDS = 90.0
_SERVICES = ("account", "container", "object")

# In one process, as Swift's own program takes seconds per call.
_RINGS = """
import sys
from swift.common.ring.builder import RingBuilder
directory, *services = sys.argv[1:]
for service in services:
    name, port = service.split(":")
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1", "port": int(port),
                     "device": "d1", "replication_ip": "127.0.0.1", "replication_port": int(port), "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{directory}/{name}.ring.gz")
"""
_PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper cache s3api tempauth bulk slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
"""
_FILTERS = ("catch_errors", "gatekeeper", "s3api", "bulk", "slo", "dlo")


@dataclass(frozen=True)
class ObjectStore:
    """A running store with an empty bucket."""

    port: int

    def uri(self, prefix: str, *, port: int | None = None, bucket: str = BUCKET) -> str:
        """Return the URI of a prefix."""
        return f"s3://{bucket}/{prefix}?endpoint_override=127.0.0.1:{port or self.port}&scheme=http"

    def client(self) -> S3FileSystem:
        """Return a client for the test."""
        return S3FileSystem(
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            region="us-east-1",
            scheme="http",
            endpoint_override=f"127.0.0.1:{self.port}",
            allow_bucket_creation=True,
        )

    def read(self, path: str) -> bytes:
        """Return an object's bytes, by its path without the bucket."""
        with self.client().open_input_stream(f"{BUCKET}/{path}", compression=None) as stream:
            return bytes(stream.read())

    def write(self, path: str, data: bytes) -> None:
        """Store an object."""
        with self.client().open_output_stream(f"{BUCKET}/{path}", compression=None) as stream:
            stream.write(data)


def missing_programs() -> list[str]:
    """Return the programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextmanager
def running(root: Path) -> Iterator[ObjectStore]:
    """Run a store with all its files under ``root`` during the body."""
    ports = dict(zip((*_SERVICES, "proxy", "memcached"), _free_ports(5), strict=True))
    _configure(root, ports)
    memcached = ["memcached", "-l", "127.0.0.1", "-p", str(ports["memcached"]), "-m", "16", "-u", getpass.getuser()]
    commands = [memcached, *([f"swift-{name}-server", str(root / f"{name}.conf")] for name in (*_SERVICES, "proxy"))]
    with (root / "log").open("wb") as log:
        # Each in its own session, as Swift's servers end their whole process group.
        processes = [subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) for command in commands]
        try:
            _wait_for(ports.values(), processes, root / "log")
            store = ObjectStore(ports["proxy"])
            store.client().create_dir(BUCKET)
            yield store
        finally:
            _stop(processes)


def _configure(root: Path, ports: dict[str, int]) -> None:
    (root / "devices" / "d1").mkdir(parents=True)
    (root / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n"
        "[storage-policy:0]\nname = single\ndefault = yes\n"
    )
    common = (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nuser = {getpass.getuser()}\nswift_dir = {root}\ndevices = {root}/devices\n"
        f"mount_check = false\nworkers = 0\nfallocate_reserve = 0\nlog_level = CRITICAL\nlog_address = {root}/no-log\n"
    )
    for name in _SERVICES:
        (root / f"{name}.conf").write_text(
            f"{common}bind_port = {ports[name]}\n[pipeline:main]\npipeline = {name}-server\n"
            f"[app:{name}-server]\nuse = egg:swift#{name}\nrecon_cache_path = {root}\n"
        )
    filters = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in _FILTERS)
    proxy = _PROXY.format(user=ACCESS_KEY.replace(":", "_"), secret=SECRET_KEY, memcached=ports["memcached"])
    (root / "proxy.conf").write_text(f"{common}bind_port = {ports['proxy']}\n{proxy}{filters}")
    python = Path(shutil.which("swift-proxy-server") or "").read_text("utf-8").splitlines()[0].removeprefix("#!")
    services = [f"{name}:{ports[name]}" for name in _SERVICES]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python.strip(), "-c", _RINGS, str(root), *services], check=True, timeout=60, env=environment)


def _free_ports(count: int) -> list[int]:
    """Return free ports, all different as they are bound at the same time."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _wait_for(ports: Iterable[int], processes: list[subprocess.Popen[bytes]], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    for port in ports:
        while True:
            ended = [process.args for process in processes if process.poll() is not None]
            assert not ended, f"{ended} ended: {log.read_text('utf-8', 'replace')[-2000:]}"
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, f"nothing listens at {port}"
            time.sleep(0.05)


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


@dataclass
class Faulty:
    """A proxy before a store: answers with status 503 if ``fails(method, path)``, else forwards. Counts requests."""

    port: int
    fails: Callable[[str, str], bool]
    failed: int = 0
    forwarded: int = 0


@contextmanager
def faulty(store: ObjectStore, fails: Callable[[str, str], bool]) -> Iterator[Faulty]:
    """Run a faulty proxy before the store during the body."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                failing = fails(self.command, self.path)
                proxy.failed += failing
                proxy.forwarded += not failing
            if failing:
                self._answer(503, [], b"<Error><Code>SlowDown</Code><Message>later</Message></Error>")
                return
            connection = http.client.HTTPConnection("127.0.0.1", store.port, timeout=30)
            # The client's host name is part of its signature.
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            data = response.read()
            self._answer(response.status, response.getheaders(), data)
            connection.close()

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                    self.send_header(name, value)
            length = {name.lower(): value for name, value in headers}.get("content-length", str(len(data)))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Do not log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Faulty(server.server_address[1], fails)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
