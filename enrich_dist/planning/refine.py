"""What earlier runs on this machine say of a stage, blended into what the model says.

Only runs of the same kind of machine, of a dataset of the same size class, that nothing disturbed; for the farm only
those of equal settings. Their seconds per row are carried over to the rows of now. With n such runs, the newest five
at most, the result is the geometric mean of the model, once, and of the n runs: one odd run moves little, five outweigh
the model. Does not read anything (``history.archive``).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from enrich_dist.events import Step
from enrich_dist.planning.model import StageTime, Workload
from enrich_dist.runs.records import Dataset, RunRecord

MAX_RUNS: Final = 5


def alike(records: Iterable[RunRecord], work: Workload, machine_digest: str) -> list[RunRecord]:
    """The newest undisturbed runs of this machine and size, the oldest first; single steps of them may be reused."""
    size_class = Dataset(work.awards, work.recipients, "", "").size_class
    found = [
        record
        for record in records
        if record.machine.digest == machine_digest
        and record.dataset.size_class == size_class
        and not (record.failed_attempts or record.worker_restarts or record.chunks_resumed)
        and not record.settings.get("testing.fault_probability")
    ]
    return found[-MAX_RUNS:]


def factors(
    stages: Iterable[StageTime],
    work: Workload,
    records: Sequence[RunRecord],
    settings: Mapping[str, Any],
) -> dict[str, tuple[float, int]]:
    """By stage: what its modelled seconds are to be multiplied by, and of how many runs that comes.

    ``stages``: those that are modelled, from nothing; ``settings``: those of the run by ``SETTINGS_THAT_MATTER``.
    """
    found = {}
    for stage in stages:
        seconds = _seconds(stage.stage, work, records, settings)
        if seconds and stage.seconds > 0:
            logs = [0.0, *(math.log(value / stage.seconds) for value in seconds)]
            found[stage.stage] = (math.exp(statistics.fmean(logs)), len(seconds))
    return found


def _seconds(stage: str, work: Workload, records: Sequence[RunRecord], settings: Mapping[str, Any]) -> list[float]:
    """Of earlier runs, for the rows of now."""
    if stage == Step.CHUNK_MATCHES:
        records = [record for record in records if record.settings == dict(settings)]
    found = []
    for record in records:
        done = record.stages.get(stage)
        if done is None or done.reused or done.seconds <= 0:
            continue
        # By what the stage goes through: the recipients, or the awards.
        of_recipients = stage in (Step.RECIPIENT_CHUNKS, Step.CHUNK_MATCHES)
        then = record.dataset.recipients if of_recipients else record.dataset.awards
        now = work.recipients if of_recipients else work.awards
        found.append(done.seconds * now / max(1, then))
    return found
