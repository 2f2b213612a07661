"""Run the job from Python, as ``enrich-dist run`` does; the run is in the history of the UI like any other."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from dagster_defs.assets import enrich
from dagster_defs.definitions import defs
from dagster_defs.retention import prune_history
from dagster_defs.run_outcome import notify_run_outcome
from enrich_dist.core.owned_files import replace_link, write_new
from enrich_dist.errors import (
    CorruptionError,
    EnrichError,
    PublicationBlockedError,
    ReconciliationError,
    RunInterruptedError,
    SettingsError,
)
from enrich_dist.events import Step, warning_on_error
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.results.quality import get_check
from enrich_dist.runs.journal import read_runs
from enrich_dist.settings import Settings
from enrich_dist.settings.values import expand_user
from enrich_dist.store.lock import locked

_INTERRUPTED_QUERY = "Query interrupted"  # DuckDB's error after Ctrl-C during a query
_ADDRESS_SYNTAX = "?#%*["  # Dagster writes the path into addresses of SQLite and patterns as it is
# Without copies of the output: Dagster makes them with helper processes, which answer Ctrl-C with a traceback.
_INSTANCE = """telemetry:
  enabled: false
nux:
  enabled: false
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


@contextmanager
def open_instance(directory: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance of $DAGSTER_HOME if that is set, else one in ``directory`` without telemetry.

    Raises ``SettingsError`` for a home that Dagster cannot use, and ``CorruptionError`` for such a ``directory``.
    """
    home = os.environ.get("DAGSTER_HOME")
    if home:
        directory = _home(home)
    else:
        directory.mkdir(parents=True, exist_ok=True)
        configuration = directory / "dagster.yaml"
        if not configuration.exists():
            write_new(configuration, _INSTANCE.encode("utf-8"))
    with ExitStack() as stack:
        address = directory
        if set(str(directory.absolute())) & set(_ADDRESS_SYNTAX):
            address = Path(stack.enter_context(TemporaryDirectory()), "dagster")
            replace_link(address, str(directory.absolute()))
        try:
            instance = dg.DagsterInstance.from_config(str(address))
        except Exception as error:  # Dagster lets those of YAML, SQLAlchemy and Python through
            cause = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            if not home:
                remedy = "Move the directory away: Dagster creates another, without the history."
                raise CorruptionError(f"Dagster cannot use {directory} ({cause}).", remedy=remedy) from error
            raise SettingsError(
                f"Dagster cannot use DAGSTER_HOME={home} ({cause}).", remedy=f"Correct {directory / 'dagster.yaml'}."
            ) from error
        yield stack.enter_context(instance)


def _home(text: str) -> Path:
    path = Path(expand_user(text))
    if not path.is_absolute():
        problem = "is not an absolute path"
    elif not path.is_dir():
        problem = "is not a directory"
    elif not os.access(path, os.R_OK | os.X_OK):
        problem = "is not a directory that you can read"
    elif not (path / "dagster.yaml").exists() and not os.access(path, os.W_OK):  # else the file may name other places
        problem = "is not a directory that you can write to"
    else:
        return path
    raise SettingsError(f"DAGSTER_HOME={text} {problem}.", remedy="Unset it, or name an existing directory.")


def launch(
    settings: Settings,
    *,
    config: Path | None,
    overrides: list[str],
    log_level: str,
    began_seconds: float | None = None,
) -> str:
    """Run the job to its end; return the run's id.

    Raises what the failing step raised; ``PublicationBlockedError`` when a check blocked the result;
    ``RunInterruptedError`` when the user stopped it.
    """
    run_id = str(uuid.uuid4())
    pipeline = Pipeline(settings, run_id)
    resource = {"config": str(config or ""), "overrides": overrides, "began_seconds": began_seconds or 0.0}
    run_config = {
        "resources": {"settings": {"config": resource}},
        "loggers": {"console": {"config": {"log_level": log_level}}},
    }
    with (
        locked(pipeline.directory.root, run_id=run_id, what="enrich-dist run"),
        open_instance(pipeline.directory.dagster) as instance,
    ):
        try:
            _execute(pipeline, instance, run_config)
        except RunInterruptedError:
            raise
        except Exception:
            # The run itself notifies operators, unless it failed before its first resource.
            notify_run_outcome(instance, run_id, settings)
            raise
        if keep := settings.retention.keep_runs:
            with warning_on_error("Dagster events of older runs could not be removed"):
                judged = [run.run_id for run in read_runs(pipeline.directory)]
                prune_history(instance, pipeline.directory.dagster, judged, keep)
    return run_id


def _execute(pipeline: Pipeline, instance: dg.DagsterInstance, run_config: dict[str, Any]) -> None:
    try:
        defs.resolve_job_def(enrich.name).execute_in_process(
            run_config=run_config, instance=instance, run_id=pipeline.run_id, raise_on_error=True
        )
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as error:
        raise RunInterruptedError from error
    except RuntimeError as error:
        if str(error) == _INTERRUPTED_QUERY:
            raise RunInterruptedError from error
        raise
    except dg.DagsterError as error:
        blocked = _blocked(pipeline)
        if blocked is None and isinstance(error.__cause__, EnrichError):
            raise error.__cause__ from None  # raised by a resource of the run
        if blocked is None:
            raise
        raise blocked from error


def _blocked(pipeline: Pipeline) -> EnrichError | None:
    """Return the error for a result that this run's verdict blocks; None if the verdict is passed or missing."""
    judged = pipeline.directory.all_latest().get(Step.ENRICHED_AWARDS)
    if judged is None or judged.run_id != pipeline.run_id:
        return None
    verdict = pipeline.verdict()
    if verdict["status"] == "passed":
        return None
    reasons = "; ".join(verdict["reasons"])
    if not get_check(verdict, "reconciliation")["passed"]:
        return ReconciliationError(
            f"Rows are missing from the result, so it was not published: {reasons}.",
            remedy="Delete the checkpoints of these chunks and run again.",
        )
    return PublicationBlockedError(
        f"The quality gate blocked the result, so it was not published: {reasons}.",
        remedy="The report shows which awards have no match.",
    )
