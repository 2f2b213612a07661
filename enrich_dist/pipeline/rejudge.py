"""Reduce and judge a completed run again, with other thresholds, another gate or new review decisions.

It uses stored comparison vectors and computes no chunk, so it takes seconds and needs no cluster. Settings that would
change chunks are refused (``completed_run``).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich_dist.core.files import read_json
from enrich_dist.events import Step
from enrich_dist.pipeline.completed_run import read_completed_run
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import LoadedSettings
from enrich_dist.store.lock import locked
from enrich_dist.store.run_directory import Output, RunDirectory, StepReport


@dataclass(frozen=True)
class Judged:
    """A result's metrics and the verdict on them."""

    metrics: dict[str, Any]
    verdict: dict[str, Any]


@dataclass(frozen=True)
class RejudgedResult:
    """The previous latest result (None if there was none) and the new one."""

    pipeline: Pipeline
    before: Judged | None
    after: Judged
    step: StepReport

    @property
    def passed(self) -> bool:
        """Return whether the result may be published."""
        return bool(self.after.verdict["status"] == "passed")


def rejudge(loaded: LoadedSettings) -> RejudgedResult:
    """Reduce and judge the completed run with these settings and the stored review decisions.

    Raises ``StateError`` when the run is not complete, or a setting would change its chunks.
    """
    run_id = str(uuid.uuid4())
    pipeline = Pipeline(loaded.settings, run_id)
    with locked(pipeline.directory.root, run_id=run_id, what="enrich-dist rejudge"):
        read_completed_run(pipeline, loaded)
        before = _latest(pipeline.directory)
        values = loaded.settings.flat()
        pipeline.directory.record_settings(run_id, values, loaded.origins)
        step = pipeline.enrich_awards()
    after = _read(step.path(Output.RESULT))
    return RejudgedResult(pipeline, before, after, step)


def _latest(directory: RunDirectory) -> Judged | None:
    step = directory.all_latest().get(Step.ENRICHED_AWARDS)
    try:
        return None if step is None else _read(step.path(Output.RESULT))
    except FileNotFoundError:  # the results were deleted
        return None


def _read(result: Path) -> Judged:
    return Judged(read_json(result / "metrics.json"), read_json(result / "verdict.json"))
