"""A private network: every process has an address on one bridge, and services are found by name.

It is in the network namespace of the rehearsal and disappears with it. dnsmasq is the name server. Does not cover
several networks.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_NET: Final = "10.89.77"
_BRIDGE: Final = "bridge0"


@dataclass
class Network:
    """The addresses. ``folder``: directory of the name server's files."""

    folder: Path
    addresses: dict[str, str] = field(default_factory=dict)
    """By process, for example worker-2."""
    gateway: str = f"{_NET}.1"
    """The address of the rehearsal itself."""
    _names: _Server | None = None

    def begin(self) -> None:
        """Create the bridge and start the name server."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _ip("link", "set", "lo", "up")
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("address", "add", f"{_NET}.1/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        (self.folder / "resolv.conf").write_text(f"nameserver {_NET}.1\n", "utf-8")
        self._names = _Server(self.folder)

    def end(self) -> None:
        """Stop the name server."""
        if self._names is not None:
            self._names.stop()

    def join(self, process: str, service: str | None) -> str:
        """Create and return a network namespace for a process. Without a service it has no network."""
        number = len(self.addresses) + 10
        _ip("netns", "add", process)
        _ip("-n", process, "link", "set", "lo", "up")
        if service is None:
            return process
        address = f"{_NET}.{number}"
        _ip("link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", process)
        _ip("link", "set", f"port{number}", "master", _BRIDGE, "up")
        _ip("-n", process, "address", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", process, "link", "set", "eth0", "up")
        _ip("-n", process, "route", "add", "default", "via", f"{_NET}.1")
        self.addresses[process] = address
        with (self.folder / "hosts").open("a", encoding="utf-8") as hosts:
            hosts.write(f"{address} {service}\n")
        assert self._names is not None
        self._names.reload()
        return process

    def hosts_file(self, process: str) -> Path:
        """Return the hosts file of a process, which contains itself."""
        path = self.folder / f"{process}.hosts"
        path.write_text(f"127.0.0.1 localhost\n{self.addresses.get(process, '127.0.0.1')} {process}\n", "utf-8")
        return path


class _Server:
    def __init__(self, folder: Path) -> None:
        self._hosts = folder / "hosts"
        self._hosts.touch()
        folder.chmod(0o755)
        with (folder / "dnsmasq.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--user=root",
                 f"--addn-hosts={self._hosts}", f"--listen-address={_NET}.1", "--bind-interfaces", "--local-ttl=0",
                 "--pid-file="],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def reload(self) -> None:
        self._process.send_signal(1)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
