"""The cluster of one run on this machine, closed to other users of it.

Scheduler, nannies and workers listen on loopback, where every local user can connect, and run any code that they
receive. So each cluster has certificates of its own, and a peer without them is refused. Dask's pages have no such
check: nothing serves them, unless the run is monitored. Then they contain metrics only (``kinds``).
"""

from __future__ import annotations

import logging
from typing import Any, cast

import dask
from distributed import Nanny, Scheduler, SpecCluster, Worker
from distributed.node import ServerNode
from distributed.security import Security

from enrich_dist.errors import EnrichError, FarmError

LOOPBACK = "127.0.0.1"


class _WithoutPages(ServerNode):
    """A scheduler or worker that opens a port for its pages only if it has some."""

    def start_http_server(self, routes: list[Any], *args: Any, **kwargs: Any) -> None:
        if routes:
            super().start_http_server(routes, *args, **kwargs)  # type: ignore[no-untyped-call]


class LocalScheduler(_WithoutPages, Scheduler):
    """The scheduler of a local cluster."""


class LocalWorker(_WithoutPages, Worker):
    """A worker of a local cluster."""

    async def __aenter__(self) -> LocalWorker:
        try:
            return cast("LocalWorker", await super().__aenter__())  # type: ignore[no-untyped-call]
        except Exception as error:  # its own causes would be lost on the way to the nanny
            raise FarmError(describe_cause(error)) from error


class LocalCluster(SpecCluster):
    """A scheduler in this process and workers with one thread each, in processes of their own.

    ``memory_limit``: of a worker, bytes; ``local_directory``: for their files. Uses the certificates of Dask's
    configuration, else new ones.
    """

    def __init__(self, *, n_workers: int, memory_limit: int, local_directory: str) -> None:
        from enrich_dist.cluster.certificates import temporary_security  # workers need not import its packages

        given = dask.config.get("distributed.comm.tls.ca-file") is not None
        security = Security() if given else temporary_security()
        common = {"host": LOOPBACK, "protocol": "tls://", "security": security}
        pages = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
        worker = {
            "cls": Nanny,
            "options": {
                **common, **pages, "worker_class": LocalWorker, "nthreads": 1, "memory_limit": memory_limit,
                "local_directory": local_directory, "silence_logs": logging.WARNING,
            },
        }  # fmt: skip
        super().__init__(  # type: ignore[no-untyped-call]
            scheduler={"cls": LocalScheduler, "options": {**common, **pages, "port": 0}},
            worker=worker,
            workers=dict.fromkeys(range(n_workers), worker),
            security=security,
            silence_logs=logging.WARNING,
        )


def describe_cause(error: BaseException) -> str:
    """Return the exception that began a chain of exceptions, as one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, EnrichError):
        return error.message
    return " ".join(f"{type(error).__name__}: {error}".split())


def log_causes_only() -> None:
    """Let Dask log an exception as its cause: a failure of each of many workers is a line, not a page."""
    for name in ("core", "nanny", "worker"):
        logging.getLogger(f"distributed.{name}").addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] is not None:
        record.msg, record.args = f"{record.getMessage()}: {describe_cause(record.exc_info[1])}", ()
        record.exc_info = None
    return True
