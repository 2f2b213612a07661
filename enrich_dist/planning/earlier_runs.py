"""Correct an estimate by earlier runs: the ratio of their seconds to the estimate, per stage.

Only undisturbed runs count, on the same kind of machine, with a dataset of the same size class; for matching only those
with the same settings. Does not read the archive (``runs.archive``).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from enrich_dist.events import Step
from enrich_dist.planning.estimate import Correction, StageTime, Workload
from enrich_dist.runs.records import RunRecord, size_class

MAX_RUNS: Final = 5


def comparable_runs(records: Iterable[RunRecord], work: Workload, machine_digest: str) -> list[RunRecord]:
    """Return the newest ``MAX_RUNS`` comparable runs, oldest first; single steps of them may be reused."""
    wanted = (machine_digest, size_class(work.awards, work.recipients))
    alike = [record for record in records if (record.machine.digest, record.size_class) == wanted]
    return [record for record in alike if record.is_undisturbed][-MAX_RUNS:]


def corrections(
    stages: Iterable[StageTime], work: Workload, records: Sequence[RunRecord], settings: Mapping[str, Any]
) -> dict[str, Correction]:
    """Return the correction of each stage that earlier runs computed. ``stages``: estimated without corrections and
    reuse; ``settings``: of the planned run (``WORKLOAD_SETTINGS``)."""
    found = {}
    for stage in (stage for stage in stages if stage.seconds > 0):
        if seconds := _scaled_seconds(stage.stage, work, records, settings):
            ratios = [value / stage.seconds for value in seconds]
            found[stage.stage] = Correction(statistics.median(ratios), min(ratios), max(ratios), len(ratios))
    return found


def _scaled_seconds(
    stage: str, work: Workload, records: Sequence[RunRecord], settings: Mapping[str, Any]
) -> list[float]:
    """Return the seconds of a stage in earlier runs, scaled to the rows of this workload."""
    if stage == Step.CHUNK_MATCHES:
        records = [record for record in records if record.workload_settings == dict(settings)]
    found = []
    for record in records:
        done = next((step for name, step in record.own_steps.items() if name == stage), None)
        if done is None or done.reused or done.seconds <= 0:
            continue
        if stage in (Step.RECIPIENT_CHUNKS, Step.CHUNK_MATCHES):
            now, then = work.recipients, record.recipients.valid_rows
        else:
            now, then = work.awards, record.awards.valid_rows
        found.append(done.seconds * now / max(1, then))
    return found
