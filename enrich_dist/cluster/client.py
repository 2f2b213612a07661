"""A Dask client from settings, with a cluster that is started here or exists already.

The client is made by dagster-dask's resource, configured by ``kinds``. Starting a cluster takes seconds and needs
nothing of the run, so ``ClusterStart`` does it in the background. Afterwards it serves scale requests (``scaling``).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future as ThreadFuture
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import DagsterError, build_resources

from enrich_dist.cluster import forkserver
from enrich_dist.cluster.kinds import check_cluster, dask_config, machine_settings, register_kinds, resource_config
from enrich_dist.cluster.scaling import ScaleRequestServer, adapt_to_chunks_left, remove_cluster_files
from enrich_dist.errors import FarmError
from enrich_dist.events import Notice, emit, warning_on_error
from enrich_dist.settings import ClusterSettings, Settings

if TYPE_CHECKING:
    from distributed import Client

# Workers get some seconds to end before they are killed; a result must not wait for a cluster that never closes.
_CLOSE_SECONDS = 60.0


@dataclass(frozen=True)
class OpenCluster:
    """A client, and its cluster if that was started here."""

    client: Client
    cluster: Any | None


@contextmanager
def open_cluster(settings: Settings, scratch: Path) -> Iterator[OpenCluster]:
    """Yield a cluster with at least one worker; afterwards close what was started.

    Raises ``SettingsError`` if the settings do not allow it to start, ``FarmError`` if the scheduler does not answer or
    no worker joins within ``cluster.start_timeout_seconds``.
    """
    cluster = settings.cluster
    check_cluster(settings)
    # Dask, pandas and dask.dataframe: two seconds that a run without chunks to match need not spend.
    import dask
    from dagster_dask import dask_resource

    from enrich_dist.cluster.local import describe_cause, log_causes_only

    register_kinds()
    # A lost scheduler is reported in one line, not as a traceback for each message on its way.
    logging.getLogger("distributed.batched").setLevel(logging.WARNING)
    log_causes_only()
    scratch.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(dask_config(settings)))
        if cluster.kind == "local":
            stack.enter_context(dask.config.set({"temporary-directory": str(scratch)}))
            stack.enter_context(forkserver.forked_workers())
        try:
            resources = stack.enter_context(
                build_resources(
                    {"dask": dask_resource}, resource_config={"dask": {"config": resource_config(settings, scratch)}}
                )
            )
            opened = OpenCluster(resources.dask.client, resources.dask.cluster)
            opened.client.wait_for_workers(1, timeout=cluster.start_timeout_seconds)
        except (OSError, TimeoutError, DagsterError) as error:  # Dagster wraps what its resources raise
            cause = describe_cause(error).rstrip(".")
            raise FarmError(f"The Dask cluster did not start: {cause}.", remedy=_start_remedy(cluster)) from error
        adaptive = cluster.adaptive
        if opened.cluster is not None and adaptive.minimum is not None and adaptive.maximum is not None:
            stack.enter_context(adapt_to_chunks_left(opened.cluster, adaptive.minimum, adaptive.maximum))
        yield opened


@contextmanager
def open_client(settings: Settings, scratch: Path) -> Iterator[Client]:
    """Yield the client of ``open_cluster``."""
    with open_cluster(settings, scratch) as opened:
        yield opened.client


def _start_remedy(cluster: ClusterSettings) -> str:
    if cluster.kind == "local":
        return "Remove this cause; raise cluster.start_timeout_seconds only if it is a timeout."
    changed = ", ".join(machine_settings())
    configured = f" Dask's configuration of this machine sets {changed}." if changed else ""
    if cluster.kind == "address":
        same_ca = f", and that the CA in {cluster.tls.ca_file} signed its certificate and yours"
        same_ca = same_ca if cluster.tls.given else ""
        return f"Check that {cluster.address} is a scheduler with workers{same_ca}.{configured}"
    return f"Check the log of {cluster.kind}; raise cluster.start_timeout_seconds if workers join late.{configured}"


class ClusterStart:
    """A cluster that starts in the background. Context manager; on exit the cluster is closed."""

    def __init__(
        self, settings: Settings, scratch: Path, work_dir: Path, prepare: Callable[[], None] | None = None
    ) -> None:
        """``work_dir``: where scale requests are written. ``prepare``: run on all workers after the start, so that the
        first chunks need not wait for imports; it may fail."""
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
        """Start the cluster if needed, wait for it, and return its client. Raises what ``open_cluster`` raises."""
        self.begin()
        client = self._client.result()
        # Not when it starts: listeners that store notices may be attached only now.
        for warning in _warnings(self._settings, client):
            emit(Notice(warning, warning=True))
        return client

    def __enter__(self) -> ClusterStart:
        # In the thread of the caller: packages of some kinds can be imported in the main thread only.
        check_cluster(self._settings)
        remove_cluster_files(self._work_dir)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)
            if self._thread.is_alive():
                emit(Notice(f"The cluster did not close within {_CLOSE_SECONDS:.0f} s; it is abandoned.", warning=True))

    def _prepare_workers(self, client: Client) -> None:
        forked = self._settings.cluster.kind == "local" and forkserver.available()
        if self._prepare is None or forked:  # forked workers are prepared
            return
        with warning_on_error("The workers could not be prepared, so their first chunks take longer"):
            client.run(asyncio.to_thread, self._prepare, on_error="return")

    def _hold(self) -> None:
        settings = self._settings.cluster
        try:
            with open_cluster(self._settings, self._scratch) as opened:
                self._client.set_result(opened.client)
                self._prepare_workers(opened.client)
                with (
                    warning_on_error("This run takes no scale requests"),  # for example because of a full disk
                    ScaleRequestServer(self._work_dir, settings, opened.client, opened.cluster) as server,
                ):
                    server.serve(self._leave)
                self._leave.wait()
        except BaseException as failure:  # raised by ``client``  # noqa: BLE001
            if not self._client.done():
                self._client.set_exception(failure)


def _warnings(settings: Settings, client: Client) -> Iterator[str]:
    cluster = settings.cluster
    if cluster.kind == "local" and (changed := machine_settings()):
        yield f"The local cluster ignores Dask's configuration of this machine: {', '.join(changed)}."
    if cluster.kind != "local" and not cluster.tls.given:
        address = client.scheduler_info(n_workers=0)["address"]
        yield (
            f"The cluster at {address} uses no TLS (cluster.allow_insecure). Anyone who reaches its scheduler can run "
            "code on its workers."
        )
    if cluster.kind == "address":
        allowed = client.run_on_scheduler(lambda dask_scheduler: int(dask_scheduler.allowed_failures))
        if allowed:
            yield (
                f"The scheduler itself retries the tasks of a lost worker, up to {allowed} times. A chunk that kills "
                "workers can then kill more than farm.max_attempts of them. Start the scheduler with "
                "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0."
            )
