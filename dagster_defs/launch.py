"""Run the job from Python, as ``enrich-dist run`` does; the run is in the history of the UI like any other."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_defs.assets import enrich
from dagster_defs.definitions import defs
from dagster_defs.run_outcome import notify_run_outcome
from enrich_dist.errors import EnrichError, PublicationBlockedError, ReconciliationError, RunInterruptedError
from enrich_dist.events import Step
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.results.quality import get_check
from enrich_dist.settings import Settings
from enrich_dist.store.lock import locked

_INTERRUPTED_QUERY = "Query interrupted"  # DuckDB's error after Ctrl-C during a query
_INSTANCE = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


def open_instance(directory: Path) -> dg.DagsterInstance:
    """Open the instance of $DAGSTER_HOME if that is set, else one in ``directory`` without telemetry."""
    if os.environ.get("DAGSTER_HOME"):
        return dg.DagsterInstance.get()
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "dagster.yaml"
    if not configuration.exists():
        configuration.write_text(_INSTANCE, "utf-8")
    return dg.DagsterInstance.from_config(str(directory))


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
            notify_run_outcome(instance, run_id, settings)
            raise
        notify_run_outcome(instance, run_id, settings)
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
