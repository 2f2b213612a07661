"""Scaling of workers during a run: by request from another process, or by the number of chunks left.

A run describes its cluster in ``cluster.json`` of the work directory, readable by its owner only. Another process asks
for a number of workers by writing a request next to it; the run scales its cluster and updates the description. Only
the run talks to its scheduler. Dask retires workers that leave: their tasks move to other workers, and no attempt is
counted. Does not cover clusters of kind ``address`` and ``ssh``, whose workers are started by hand.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrich_dist.core.files import json_bytes, read_json, write_file
from enrich_dist.core.owned_files import remove_file
from enrich_dist.errors import StateError
from enrich_dist.events import Event, FarmProgress, Notice, emit, listening
from enrich_dist.settings import ClusterSettings
from enrich_dist.store.lock import read_holder

if TYPE_CHECKING:
    from distributed import Client

CLUSTER_FILE = "cluster.json"
REQUEST_FILE = "cluster.request.json"
_MAX_WORKERS = 10_000
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class ClusterInfo:
    """The cluster of a run. ``refusal``: why it takes no requests; ``request``: id of the latest request it served."""

    kind: str
    scheduler: str
    host: str
    pid: int
    workers: list[str]
    refusal: str | None = None
    request: str | None = None


class ScaleRequestServer:
    """Serve scale requests on the side of the run. Context manager; on exit it removes both files."""

    def __init__(self, work_dir: Path, settings: ClusterSettings, client: Client, cluster: Any | None) -> None:
        self._work_dir = work_dir
        self._client = client
        self._cluster = cluster
        address = str(client.scheduler_info(n_workers=0)["address"])
        self._info = ClusterInfo(
            settings.kind, address, socket.gethostname(), os.getpid(), self._workers(), _refusal(settings, address)
        )

    def __enter__(self) -> ScaleRequestServer:
        remove_cluster_files(self._work_dir)
        _write_private(self._work_dir / CLUSTER_FILE, asdict(self._info))
        return self

    def __exit__(self, *_: object) -> None:
        remove_cluster_files(self._work_dir)

    def serve(self, stop: threading.Event) -> None:
        """Serve requests until ``stop`` is set."""
        while not stop.wait(_POLL_SECONDS):
            try:
                self._serve_once()
            except Exception as error:  # a failed request must not end the cluster  # noqa: BLE001
                emit(Notice(f"A scale request failed: {error}. This run takes no further requests.", warning=True))
                remove_cluster_files(self._work_dir)
                return

    def _serve_once(self) -> None:
        info = replace(self._info, workers=self._workers())
        request = _read(self._work_dir / REQUEST_FILE)
        if request is not None:
            remove_file(self._work_dir / REQUEST_FILE)
            info = replace(info, request=str(request["id"]))
            n_workers = int(request["n_workers"])
            if info.refusal is None and self._cluster is not None and 1 <= n_workers <= _MAX_WORKERS:
                emit(Notice(f"Scaling the cluster from {len(info.workers)} to {n_workers} workers."))
                _scale(self._cluster, self._client, n_workers)
        if info != self._info:
            self._info = info
            _write_private(self._work_dir / CLUSTER_FILE, asdict(info))

    def _workers(self) -> list[str]:
        return sorted(self._client.scheduler_info(n_workers=-1)["workers"])


def remove_cluster_files(work_dir: Path) -> None:
    """Remove both files, which a killed run leaves."""
    for name in (CLUSTER_FILE, REQUEST_FILE):
        remove_file(work_dir / name)


def _scale(cluster: Any, client: Client, n_workers: int) -> None:
    from distributed import SpecCluster

    if isinstance(cluster, SpecCluster):
        # SpecCluster.scale closes workers whose names the scheduler does not resolve, as if they had crashed. Retire
        # them first, idle ones before others.
        leaving = client.run_on_scheduler(
            lambda dask_scheduler: dask_scheduler.workers_to_close(target=n_workers, attribute="name")
        )
        if leaving:
            client.retire_workers(names=leaving, close_workers=True, remove=True)
            cluster.sync(cluster.scale_down, leaving)
    cluster.scale(n_workers)


def request_workers(work_dir: Path, n_workers: int, *, timeout_seconds: float) -> ClusterInfo:
    """Request a number of workers from the run in ``work_dir``; return when it has them.

    Raises ``StateError`` if no run is active, its cluster takes no requests, or the workers do not come or go within
    ``timeout_seconds``.
    """
    deadline = time.monotonic() + timeout_seconds
    info = _wait_for_cluster(work_dir, deadline)
    if info.refusal is not None:
        raise StateError(f"The cluster of this run ({info.kind}) takes no scale requests.", remedy=info.refusal)
    previous, request = info.request, uuid.uuid4().hex
    _write_private(work_dir / REQUEST_FILE, {"id": request, "n_workers": n_workers})
    while info.request != request or len(info.workers) != n_workers:
        if info.request not in (previous, request):
            raise StateError("Another scale request replaced this one.", remedy="Repeat the command if needed.")
        if time.monotonic() > deadline:
            raise StateError(
                f"Requested {n_workers} workers; after {timeout_seconds:g} seconds there are {len(info.workers)}.",
                remedy="They may still come: check `enrich-dist status`, and the free memory and cores.",
            )
        time.sleep(_POLL_SECONDS / 2)
        info = _wait_for_cluster(work_dir, deadline)
    return info


def _wait_for_cluster(work_dir: Path, deadline: float) -> ClusterInfo:
    while True:
        if read_holder(work_dir) is None:
            raise StateError(
                f"No run is active in {work_dir}.", remedy="Set its directory: --set paths.work_dir=DIRECTORY."
            )
        document = _read(work_dir / CLUSTER_FILE)
        if document is not None:
            return ClusterInfo(**document)
        if time.monotonic() > deadline:
            raise StateError(
                "The active run has no cluster at the moment.", remedy="Repeat the command while it matches chunks."
            )
        time.sleep(_POLL_SECONDS)


@contextmanager
def adapt_to_chunks_left(cluster: Any, minimum: int, maximum: int) -> Iterator[None]:
    """Scale the cluster to the number of chunks left, within these bounds, while the body runs.

    Dask's own adaptive target counts submitted tasks; the farm never submits more tasks than there are workers.
    """
    from distributed.deploy.adaptive import Adaptive

    chunks_left = maximum

    def listener(event: Event) -> None:
        nonlocal chunks_left
        if isinstance(event, FarmProgress):
            chunks_left = event.chunks_total - event.chunks_done

    class ChunksLeftAdaptive(Adaptive):
        async def target(self) -> int:
            return chunks_left

    with listening(listener):
        adaptive = cluster.adapt(Adaptive=ChunksLeftAdaptive, minimum=minimum, maximum=maximum)
        try:
            yield
        finally:
            adaptive.stop()


def _refusal(settings: ClusterSettings, address: str) -> str | None:
    if settings.kind in ("address", "ssh"):
        return f"Start workers with `dask worker {address}` on their hosts, or stop some; the run uses them."
    if settings.adaptive.given:
        bounds = f"{settings.adaptive.minimum} to {settings.adaptive.maximum}"
        return f"It scales itself from {bounds} workers by the chunks left (cluster.adaptive)."
    return None


def _write_private(final: Path, document: dict[str, Any]) -> None:
    write_file(final, json_bytes(document), mode=0o600)


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(FileNotFoundError):
        return read_json(path)
    return None
