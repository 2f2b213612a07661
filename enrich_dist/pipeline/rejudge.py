"""Reduces and judges a finished run anew: other thresholds, another gate, or new decisions of persons.

Acts on stored comparison vectors and touches no chunk, so that it takes seconds and needs no cluster. Does not cover
settings that would change chunks: those are refused (``finished``).
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
from enrich_dist.settings import LoadedSettings, flatten
from enrich_dist.store.lock import locked
from enrich_dist.store.run_directory import Output, RunDirectory, StepReport


@dataclass(frozen=True)
class Judged:
    """A result's metrics and the verdict on them."""

    metrics: dict[str, Any]
    verdict: dict[str, Any]


@dataclass(frozen=True)
class RejudgedResult:
    """The result that was the latest (None where there was none) and the one that is now."""

    pipeline: Pipeline
    before: Judged | None
    after: Judged
    step: StepReport

    @property
    def passed(self) -> bool:
        """Whether the result may be published."""
        return bool(self.after.verdict["status"] == "passed")


def rejudge(loaded: LoadedSettings) -> RejudgedResult:
    """Reduce and judge the finished run with these settings and the decisions that are stored.

    Raises ``StateError`` when the run is not finished, or a setting would change its chunks.
    """
    run_id = str(uuid.uuid4())
    pipeline = Pipeline(loaded.settings, run_id)
    with locked(pipeline.directory.root, run_id=run_id, what="enrich-dist rejudge"):
        read_completed_run(pipeline, loaded)
        before = _latest(pipeline.directory)
        values = flatten(loaded.settings.model_dump(mode="json"))
        pipeline.directory.record_settings(run_id, values, loaded.origins)
        step = pipeline.enrich_awards()
    after = _read(step.path(Output.RESULT))
    return RejudgedResult(pipeline, before, after, step)


def _latest(directory: RunDirectory) -> Judged | None:
    step = directory.all_latest().get(Step.ENRICHED_AWARDS)
    try:
        return None if step is None else _read(step.path(Output.RESULT))
    except FileNotFoundError:  # somebody cleared the results, which are made anew
        return None


def _read(result: Path) -> Judged:
    return Judged(read_json(result / "metrics.json"), read_json(result / "verdict.json"))
