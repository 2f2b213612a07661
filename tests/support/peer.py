"""A local user who tries to run code through an address: ``python -m tests.support.peer UID FILE ADDRESS…``.

Becomes that user first. Tries each ``host:port`` as Dask's own protocol would: plainly, with TLS but without a
certificate, and with the certificate of another cluster; to a Dask server by its ``run`` call, and to a scheduler as a
client. What gets through writes a line to FILE. Prints the outcome of each attempt as a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any

from distributed import Client
from distributed.core import rpc
from distributed.protocol.pickle import dumps
from distributed.security import Security

from enrich_dist.cluster.certificates import temporary_security

_SECONDS = 3


def without_certificate() -> dict[str, Any]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return {"ssl_context": context}


def attempts() -> dict[str, tuple[str, dict[str, Any], Security]]:
    """By name: scheme, arguments of a connection, security of a client."""
    other = temporary_security()
    return {
        "plain": ("tcp", {}, Security()),
        "without certificate": ("tls", without_certificate(), Security()),
        "other certificate": ("tls", other.get_connection_args("client"), other),
    }


async def attack(address: str, how: dict[str, Any], security: Security, target: str) -> list[str]:
    """Make the server at an address write to a file, in two ways; return what happened."""

    def write(dask_scheduler: Any = None, dask_worker: Any = None) -> None:
        with Path(target).open("a") as file:
            file.write(f"{os.getuid()} {address}\n")

    async def call() -> None:
        async with rpc(address, connection_args=how) as server:
            await server.run(function=dumps(write), wait=True)

    async def join() -> None:
        async with Client(address, asynchronous=True, security=security, timeout=_SECONDS) as client:
            await client.run_on_scheduler(write)

    found = []
    for attempt in (call, join):
        try:
            await asyncio.wait_for(attempt(), _SECONDS)
            found.append("ran")
        except Exception as error:  # each is a refusal  # noqa: BLE001
            found.append(type(error).__name__)
    return found


if __name__ == "__main__":
    _, uid, target, *addresses = sys.argv
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
    for address in addresses:
        for name, (scheme, how, security) in attempts().items():
            outcome = asyncio.run(attack(f"{scheme}://{address}", how, security, target))
            line = json.dumps({"address": address, "attempt": name, "outcomes": outcome})
            sys.stdout.write(line + "\n")
