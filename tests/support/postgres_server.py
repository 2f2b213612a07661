"""A real PostgreSQL server for tests, on a free port of the loopback interface and on a Unix socket.

Debian: apt-get install --no-install-recommends postgresql. PostgreSQL refuses to run as root; as root, the server runs
as the user ``postgres``. TCP connections require a password, so that tests can check how it is handled; the socket does
not. All data are temporary.

    with postgres_server.running(tmp_path) as server:
        server.execute("create table t (x int)")
        connect(server.uri)
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

PROGRAMS = ("initdb", "postgres", "psql", "pg_dump")
USER, PASSWORD = "enrich", "canary-7c02e9"
_START_SECONDS = 60.0
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "4GB",
    "log_min_messages": "warning",
}


@dataclass(frozen=True)
class PostgresServer:
    """A running server, connected to one of its databases."""

    socket_dir: Path
    port: int
    log: Path
    database: str = "postgres"
    user: str = USER
    password: str = PASSWORD

    @property
    def uri(self) -> str:
        """The TCP URI with the password."""
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{self.database}"

    @property
    def uri_without_password(self) -> str:
        """The TCP URI without the password."""
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{self.database}"

    @property
    def socket_uri(self) -> str:
        """The URI of the socket, which needs no password."""
        return f"postgresql://{self.user}@/{self.database}?host={self.socket_dir}&port={self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment for PostgreSQL's programs."""
        return {
            "PGHOST": str(self.socket_dir),
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGDATABASE": self.database,
        }

    def run(self, program: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a PostgreSQL program against the database. Raises when it fails."""
        done = subprocess.run(
            [str(find_program(program)), *map(str, arguments)],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            **options,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return done

    def execute(self, sql: str) -> str:
        """Run statements; return the result of the last one, unaligned, without headers."""
        options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1")
        return self.run("psql", *options, input=sql).stdout

    def create_database(self, name: str) -> PostgresServer:
        """Return the same server, connected to a new, empty database."""
        self.execute(f'create database "{name}"')
        return replace(self, database=name)

    def dump(self, folder: Path, *options: str) -> Path:
        """Dump the database as a directory."""
        self.run("pg_dump", "--format=directory", *options, "--file", folder)
        return folder


def find_program(name: str) -> str | None:
    """Return the path of a PostgreSQL program; Debian has the server's programs in a directory per version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    return shutil.which(name, path=os.pathsep.join([*map(str, reversed(folders)), os.environ.get("PATH", "")]))


def missing_programs() -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in PROGRAMS if find_program(name) is None]


@contextmanager
def running(folder: Path) -> Iterator[PostgresServer]:
    """Run a server during the body; its log is in ``folder``.

    Its files are elsewhere, as the path of the socket must be short and another user must have access.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "postgres.log"
    with tempfile.TemporaryDirectory(prefix="postgres-") as name, log.open("wb") as output:
        root = Path(name)
        owner = _owner()
        password = root / "password"
        password.write_text(PASSWORD + "\n", "utf-8")
        if owner:
            for path in (root, password):
                os.chown(path, owner["user"], owner["group"])
        data = root / "data"
        _run_as(
            owner, output, "initdb", "--pgdata", data, "--username", USER, "--pwfile", password, "--no-sync",
            "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale",
        )  # fmt: skip
        port = _free_port()
        settings = {**_SETTINGS, "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": root}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        command = [str(find_program("postgres")), "-D", str(data), *options]
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=root, **owner)
        try:
            server = PostgresServer(root, port, log)
            _wait_for(server, process)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown, which ends all sessions
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait(30)


def _owner() -> dict[str, Any]:
    """Return the server's user as arguments of ``subprocess``; empty unless the tests run as root."""
    if os.geteuid():
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _run_as(owner: dict[str, Any], output: Any, program: str, *arguments: str | Path) -> None:
    command = [str(find_program(program)), *map(str, arguments)]
    subprocess.run(command, stdout=output, stderr=output, check=True, timeout=120, cwd="/", **owner)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(server: PostgresServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, f"postgres ended: {server.log.read_text('utf-8', 'replace')[-2000:]}"
        try:
            server.execute("select 1")
        except AssertionError:
            assert time.monotonic() < deadline, f"no answer: {server.log.read_text('utf-8', 'replace')[-2000:]}"
            time.sleep(0.05)
        else:
            return
