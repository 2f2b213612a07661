"""A Dask cluster from settings: started here, or one that is already there.

The client is made by dagster-dask's own resource, whose kinds of cluster stand in ``kinds``. Starting takes
seconds and needs nothing of the run, so ``ClusterStart`` does it in the background; while it works it serves those who
ask for more or fewer workers (``scaling``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future as ThreadFuture
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import dask
from dagster import DagsterError, build_resources
from distributed import Client

from enrich_dist.cluster import forkserver
from enrich_dist.cluster.kinds import check_cluster, dask_config, register_kinds, resource_config
from enrich_dist.cluster.scaling import ScaleRequestServer, following_the_work, remove_note
from enrich_dist.errors import FarmError
from enrich_dist.events import Notice, emit
from enrich_dist.farm.worker import run_aside
from enrich_dist.settings import Settings

# Workers have some seconds to end before they are killed; a result must not wait for a cluster that never closes.
_CLOSE_SECONDS = 60.0


@dataclass(frozen=True)
class OpenCluster:
    """A client, and the cluster it belongs to where that was started here."""

    client: Client
    cluster: Any | None


@contextmanager
def open_cluster(settings: Settings, scratch: Path) -> Iterator[OpenCluster]:
    """Yield a cluster with at least one worker; close what was started afterwards.

    Raises ``SettingsError`` when it cannot be started with these settings, ``FarmError`` when the scheduler does not
    answer or no worker comes within ``cluster.start_timeout_seconds``.
    """
    check_cluster(settings)
    # Brings pandas and dask.dataframe with it: two seconds that a run without work to farm need not spend.
    from dagster_dask import dask_resource

    register_kinds()
    # What was on its way to a scheduler that is lost: that it is lost is told in one line, not as a traceback.
    logging.getLogger("distributed.batched").setLevel(logging.WARNING)
    scratch.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(dask_config(settings)))
        if settings.cluster.kind == "local":
            stack.enter_context(forkserver.forked_workers())
        try:
            resources = stack.enter_context(
                build_resources(
                    {"dask": dask_resource}, resource_config={"dask": {"config": resource_config(settings, scratch)}}
                )
            )
            opened = OpenCluster(resources.dask.client, resources.dask.cluster)
            opened.client.wait_for_workers(1, timeout=settings.cluster.start_timeout_seconds)
        except (OSError, TimeoutError, DagsterError) as error:  # Dagster wraps what its resources raise
            cause = error.__cause__ or error
            raise FarmError(f"The Dask cluster did not come up: {cause}.", remedy=_start_remedy(settings)) from error
        adaptive = settings.cluster.adaptive
        if opened.cluster is not None and adaptive.minimum is not None and adaptive.maximum is not None:
            stack.enter_context(following_the_work(opened.cluster, adaptive.minimum, adaptive.maximum))
        yield opened


@contextmanager
def open_client(settings: Settings, scratch: Path) -> Iterator[Client]:
    """Yield the client of ``open_cluster``."""
    with open_cluster(settings, scratch) as opened:
        yield opened.client


def _start_remedy(settings: Settings) -> str:
    cluster = settings.cluster
    if cluster.kind == "address":
        remedy = f"Check that a scheduler runs at {cluster.address} and has workers"
        same_ca = f", and that its certificate and yours are of the CA in {cluster.tls.ca_file}"
        return f"{remedy}{same_ca if cluster.tls.given else ''}."
    if cluster.kind == "local":
        return "Raise cluster.start_timeout_seconds, or look at the workers' messages above."
    return f"Look at the messages of {cluster.kind}; raise cluster.start_timeout_seconds if workers only come late."


class ClusterStart:
    """A cluster that can start in the background while the plan is made.

    Context manager; ``begin()`` starts it, ``client()`` starts it if need be and waits for it. Leaving closes it.
    """

    def __init__(
        self, settings: Settings, scratch: Path, work_dir: Path, prepare: Callable[[], None] | None = None
    ) -> None:
        """``work_dir`` is where those who scale it ask. ``prepare`` is run on every worker that is there at the start,
        so that the first chunks need not wait for imports; whether it succeeds does not matter."""
        self._settings = settings
        self._scratch = scratch
        self._work_dir = work_dir
        self._prepare = prepare
        self._client: ThreadFuture[Client] = ThreadFuture()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._hold, name="cluster-start", daemon=True)

    def begin(self) -> None:
        """Start, without waiting."""
        if not self._thread.is_alive() and not self._client.done():
            self._thread.start()

    def client(self) -> Client:
        """The client, as soon as the cluster is there. Raises what starting it raised."""
        self.begin()
        client = self._client.result()
        # Here and not when it starts: now those listen who keep what is told.
        for warning in _warnings(self._settings, client):
            emit(Notice(warning, warning=True))
        return client

    def __enter__(self) -> ClusterStart:
        # Here, in the thread of the caller: the packages of some kinds can only be imported in the main one.
        check_cluster(self._settings)
        remove_note(self._work_dir)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)
            if self._thread.is_alive():
                emit(
                    Notice(
                        f"The cluster has not closed within {_CLOSE_SECONDS:.0f} s; its end is not waited for.", True
                    )
                )

    def _prepare_workers(self, client: Client) -> None:
        forked = self._settings.cluster.kind == "local" and forkserver.available()
        if self._prepare is None or forked:  # forked workers have all they need
            return
        try:
            client.run(run_aside, self._prepare, on_error="return")
        except Exception as error:  # the cluster stays: no run depends on this  # noqa: BLE001
            emit(Notice(f"The workers could not be prepared ({error}); their first chunks take longer.", warning=True))

    def _serve(self, opened: OpenCluster) -> None:
        try:
            with ScaleRequestServer(self._work_dir, self._settings.cluster, opened.client, opened.cluster) as desk:
                desk.serve(self._leave)
        except OSError as error:  # a full disk, say: whoever works on the cluster will tell
            emit(Notice(f"The workers of this run cannot be scaled: {error}.", warning=True))

    def _hold(self) -> None:
        try:
            with open_cluster(self._settings, self._scratch) as opened:
                self._client.set_result(opened.client)
                self._prepare_workers(opened.client)
                self._serve(opened)
                self._leave.wait()
        except BaseException as failure:  # handed to whoever asks for the client  # noqa: BLE001
            if not self._client.done():
                self._client.set_exception(failure)


def _warnings(settings: Settings, client: Client) -> Iterator[str]:
    cluster = settings.cluster
    if cluster.kind != "local" and not cluster.tls.given:
        address = client.scheduler_info(n_workers=0)["address"]
        yield (
            f"The cluster at {address} works without TLS (cluster.allow_insecure): whoever reaches "
            "its scheduler can run code on its workers."
        )
    if cluster.kind == "address":
        allowed = client.run_on_scheduler(lambda dask_scheduler: int(dask_scheduler.allowed_failures))
        if allowed:
            yield (
                f"The scheduler repeats by itself, up to {allowed} times, what a lost worker was at: a chunk that ends "
                "its workers ends more of them than farm.max_attempts, and others with it. Start it with "
                "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0."
            )
