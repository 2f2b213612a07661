"""A Dask client from settings: a local cluster, or a scheduler that is already there.

The client is made by dagster-dask's own resource, so that every cluster kind it knows can be added by settings alone.
Starting takes seconds and needs nothing of the run, so ``ClusterStart`` does it in the background. Does not yet
cover TLS.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future as ThreadFuture
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import dask
from dagster import DagsterError, build_resources
from distributed import Client

from enrich_dist.errors import FarmError
from enrich_dist.observe.events import Notice, emit
from enrich_dist.settings import Settings
from enrich_dist.worker import run_aside

_DASK_CONFIG = {
    # A worker's death is ours to judge, not to be retried unseen.
    "distributed.scheduler.allowed-failures": 0,
    # Chunk results are a few hundred bytes: nothing is worth spilling, and the warnings would be noise.
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    # One thread per worker; libraries must not start more behind its back.
    "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": 1,
    "distributed.nanny.pre-spawn-environ.OPENBLAS_NUM_THREADS": 1,
    "distributed.nanny.pre-spawn-environ.ARROW_IO_THREADS": 2,
}


def resource_config(settings: Settings, scratch: Path) -> dict[str, Any]:
    """The configuration of ``dagster_dask.dask_resource`` that the settings ask for."""
    cluster = settings.cluster
    timeout_seconds = max(1, round(cluster.start_timeout_seconds))
    if cluster.kind == "address":
        return {"client": {"address": cluster.address, "timeout": timeout_seconds, "set_as_default": False}}
    local = {
        "n_workers": cluster.n_workers,
        "threads_per_worker": 1,
        "processes": True,
        "memory_limit": settings.memory_threshold_mb * 1_000_000,
        "host": "127.0.0.1",  # a scheduler runs whatever code it is sent: never listen beyond this machine
        "dashboard_address": "127.0.0.1:0",
        "local_directory": str(scratch),
    }
    return {"cluster": {"local": local}, "client": {"timeout": timeout_seconds, "set_as_default": False}}


@contextmanager
def open_client(settings: Settings, scratch: Path) -> Iterator[Client]:
    """Yield a client with at least one worker; close what was started afterwards.

    Raises ``FarmError`` when the scheduler does not answer or no worker comes within
    ``cluster.start_timeout_seconds``.
    """
    # Brings pandas and dask.dataframe with it: two seconds that a run without work to farm need not spend.
    from dagster_dask import dask_resource

    scratch.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_DASK_CONFIG))
        try:
            resources = stack.enter_context(
                build_resources(
                    {"dask": dask_resource}, resource_config={"dask": {"config": resource_config(settings, scratch)}}
                )
            )
            client: Client = resources.dask.client
            client.wait_for_workers(1, timeout=settings.cluster.start_timeout_seconds)
        except (OSError, TimeoutError, DagsterError) as error:  # Dagster wraps what its resources raise
            if settings.cluster.kind == "address":
                remedy = f"Check that a scheduler runs at {settings.cluster.address} and has workers."
            else:
                remedy = "Raise cluster.start_timeout_seconds, or look at the workers' messages above."
            cause = error.__cause__ or error
            raise FarmError(f"The Dask cluster did not come up: {cause}.", remedy=remedy) from error
        yield client


class ClusterStart:
    """A cluster that can start in the background while the plan is made.

    Context manager; ``begin()`` starts it, ``client()`` starts it if need be and waits for it. Leaving closes it.
    """

    def __init__(self, settings: Settings, scratch: Path, prepare: Callable[[], None] | None = None) -> None:
        """``prepare`` is run on every worker that is there at the start, so that the first chunks need not wait for
        imports; whether it succeeds does not matter."""
        self._settings = settings
        self._scratch = scratch
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
        return self._client.result()

    def __enter__(self) -> ClusterStart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.set()
        if self._thread.is_alive():
            self._thread.join()

    def _prepare_workers(self, client: Client) -> None:
        if self._prepare is None:
            return
        try:
            client.run(run_aside, self._prepare, on_error="return")
        except Exception as error:  # the cluster stays: no run depends on this  # noqa: BLE001
            emit(Notice(f"The workers could not be prepared ({error}); their first chunks take longer.", warning=True))

    def _hold(self) -> None:
        try:
            with open_client(self._settings, self._scratch) as client:
                self._client.set_result(client)
                self._prepare_workers(client)
                self._leave.wait()
        except BaseException as failure:  # handed to whoever asks for the client  # noqa: BLE001
            if not self._client.done():
                self._client.set_exception(failure)
