"""More or fewer workers while a run works: by a wish from another process, or by the work that is left.

A run leaves a note of its cluster in the work directory (``cluster.json``, for its owner's eyes, gone when it ends).
Whoever wants another number of workers leaves a wish beside it; the run sees to it and notes which workers there are.
So nobody but the run talks to its scheduler. Workers leave as Dask retires them: what they were at goes to another, and
no try is counted. Does not cover clusters that others run: their workers are started and stopped by hand.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrich_dist.core.files import atomic_path, read_json
from enrich_dist.errors import StateError
from enrich_dist.events import Event, FarmProgress, Notice, emit, listening
from enrich_dist.settings import ClusterSettings
from enrich_dist.store.lock import read_holder

if TYPE_CHECKING:
    from distributed import Client

NOTE_FILE = "cluster.json"
WISH_FILE = "cluster.wish.json"
MAX_WORKERS = 10_000
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class ClusterNote:
    """A run's cluster as it is now. ``refusal``: why it takes no wishes; ``wish``: the latest that was seen to."""

    kind: str
    scheduler: str
    host: str
    pid: int
    workers: list[str]
    refusal: str | None = None
    wish: str | None = None


class ScaleRequestServer:
    """The run's side: keeps the note and sees to wishes. A context manager; leaving it removes both files."""

    def __init__(self, work_dir: Path, settings: ClusterSettings, client: Client, cluster: Any | None) -> None:
        self._work_dir = work_dir
        self._client = client
        self._cluster = cluster
        address = str(client.scheduler_info(n_workers=0)["address"])
        self._note = ClusterNote(
            kind=settings.kind,
            scheduler=address,
            host=socket.gethostname(),
            pid=os.getpid(),
            workers=self._workers(),
            refusal=_refusal(settings, address),
        )

    def __enter__(self) -> ScaleRequestServer:
        remove_note(self._work_dir)
        _write_private(self._work_dir / NOTE_FILE, asdict(self._note))
        return self

    def __exit__(self, *_: object) -> None:
        remove_note(self._work_dir)

    def serve(self, leave: threading.Event) -> None:
        """See to wishes until ``leave`` is set."""
        while not leave.wait(_POLL_SECONDS):
            try:
                self._attend()
            except Exception as error:  # no wish may end the cluster, which others work on  # noqa: BLE001
                emit(Notice(f"A wish for another number of workers could not be seen to: {error}", warning=True))
                remove_note(self._work_dir)
                return

    def _attend(self) -> None:
        note = replace(self._note, workers=self._workers())
        wish = _read(self._work_dir / WISH_FILE)
        if wish is not None:
            (self._work_dir / WISH_FILE).unlink(missing_ok=True)
            note = replace(note, wish=str(wish["id"]))
            n_workers = int(wish["n_workers"])
            if note.refusal is None and self._cluster is not None and 1 <= n_workers <= MAX_WORKERS:
                emit(Notice(f"The cluster is asked for {n_workers} workers; it had {len(note.workers)}."))
                _scale(self._cluster, self._client, n_workers)
        if note != self._note:
            self._note = note
            _write_private(self._work_dir / NOTE_FILE, asdict(note))

    def _workers(self) -> list[str]:
        return sorted(self._client.scheduler_info(n_workers=-1)["workers"])


def remove_note(work_dir: Path) -> None:
    """Remove what a run that was killed may have left."""
    for name in (NOTE_FILE, WISH_FILE):
        (work_dir / name).unlink(missing_ok=True)


def _scale(cluster: Any, client: Client, n_workers: int) -> None:
    from distributed import SpecCluster

    if isinstance(cluster, SpecCluster):
        # Its own ``scale`` names workers to the scheduler in a way that this does not know, and so ends them as if they
        # had crashed; here they are retired first, idle ones before others.
        leaving = client.run_on_scheduler(
            lambda dask_scheduler: dask_scheduler.workers_to_close(target=n_workers, attribute="name")
        )
        if leaving:
            client.retire_workers(names=leaving, close_workers=True, remove=True)
            cluster.sync(cluster.scale_down, leaving)
    cluster.scale(n_workers)


def ask_for_workers(work_dir: Path, n_workers: int, *, timeout_seconds: float) -> ClusterNote:
    """Have the run in ``work_dir`` work with so many workers; return the note when it does.

    Raises ``StateError`` when no run is under way there, when its cluster is scaled otherwise, or when the workers have
    not come or gone within ``timeout_seconds``.
    """
    deadline = time.monotonic() + timeout_seconds
    note = _wait_for_cluster(work_dir, deadline)
    if note.refusal is not None:
        raise StateError(f"The workers of this run are not scaled by it ({note.kind}).", remedy=note.refusal)
    before, wish = note.wish, uuid.uuid4().hex
    _write_private(work_dir / WISH_FILE, {"id": wish, "n_workers": n_workers})
    while not (note.wish == wish and len(note.workers) == n_workers):
        if note.wish not in (before, wish):
            raise StateError("Another number of workers was asked for meanwhile.", remedy="Ask again if need be.")
        if time.monotonic() > deadline:
            raise StateError(
                f"{n_workers} workers were asked for; after {timeout_seconds:g} seconds there are {len(note.workers)}.",
                remedy="They may still come: look at `enrich-dist status`, or at the machine for memory and cores.",
            )
        time.sleep(_POLL_SECONDS / 2)
        note = _wait_for_cluster(work_dir, deadline)
    return note


def _wait_for_cluster(work_dir: Path, deadline: float) -> ClusterNote:
    while True:
        if read_holder(work_dir) is None:
            raise StateError(
                f"No run is under way in {work_dir}.", remedy="Name its directory: --set paths.work_dir=DIRECTORY."
            )
        document = _read(work_dir / NOTE_FILE)
        if document is not None:
            return ClusterNote(**document)
        if time.monotonic() > deadline:
            raise StateError(
                "The run under way has no cluster now.",
                remedy="It has not begun to farm out chunks, or has done with it.",
            )
        time.sleep(_POLL_SECONDS)


@contextmanager
def following_the_work(cluster: Any, minimum: int, maximum: int) -> Iterator[None]:
    """Have the cluster hold as many workers as chunks are left, within these bounds, while the body runs.

    By Dask's own adaptive scaling, but for the number: Dask counts the tasks it was sent, and the farm sends no more
    than there are workers.
    """
    from distributed.deploy.adaptive import Adaptive

    chunks_left = maximum

    def listener(event: Event) -> None:
        nonlocal chunks_left
        if isinstance(event, FarmProgress):
            chunks_left = event.chunks_total - event.chunks_done

    class ByChunksLeft(Adaptive):
        async def target(self) -> int:
            return chunks_left

    with listening(listener):
        adaptive = cluster.adapt(Adaptive=ByChunksLeft, minimum=minimum, maximum=maximum)
        try:
            yield
        finally:
            adaptive.stop()


def _refusal(settings: ClusterSettings, address: str) -> str | None:
    if settings.kind == "address":
        return f"Start further workers with `dask worker {address}`, or end some; the run takes note by itself."
    if settings.kind == "ssh":
        return f"Start further workers with `dask worker {address}` on their hosts; the run takes note by itself."
    if settings.adaptive.given:
        return (
            f"It holds between {settings.adaptive.minimum} and {settings.adaptive.maximum} workers, as work is left "
            "(cluster.adaptive)."
        )
    return None


def _write_private(final: Path, document: dict[str, Any]) -> None:
    with atomic_path(final) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
