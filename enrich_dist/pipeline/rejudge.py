"""Reduce and judge a completed run again, with other thresholds, another gate or new review decisions.

It uses stored comparison vectors and computes no chunk, so it takes seconds and needs no cluster. Settings that would
change chunks are refused (``completed_run``).
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.pipeline.completed_run import read_completed_run
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import LoadedSettings
from enrich_dist.store.artifacts import open_unverified
from enrich_dist.store.lock import locked
from enrich_dist.store.run_directory import Output, StepReport


@dataclass(frozen=True)
class RejudgedResult:
    """ "metrics" and "verdict" of the previous latest result (None if there was none) and of the new one."""

    pipeline: Pipeline
    before: dict[str, Any] | None
    after: dict[str, Any]
    step: StepReport

    @property
    def passed(self) -> bool:
        """Return whether the result may be published."""
        return bool(self.after["verdict"]["status"] == "passed")


def rejudge(loaded: LoadedSettings) -> RejudgedResult:
    """Reduce and judge the completed run with these settings and the stored review decisions.

    Raises ``StateError`` when the run is not complete, or a setting would change its chunks.
    """
    run_id = str(uuid.uuid4())
    pipeline = Pipeline(loaded.settings, run_id)
    with locked(pipeline.directory.root, run_id=run_id, what="enrich-dist rejudge"):
        read_completed_run(pipeline, loaded)
        before = None
        with suppress(StateError, CorruptionError):  # no result yet, or it was deleted
            before = open_unverified(pipeline.directory.output(Output.RESULT)).facts
        values = loaded.settings.flat()
        pipeline.directory.record_settings(run_id, values, loaded.origins)
        step = pipeline.enrich_awards()
    return RejudgedResult(pipeline, before, open_unverified(step.path(Output.RESULT)).facts, step)
