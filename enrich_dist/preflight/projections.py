"""How long a run is going to take: by comparable runs, which are better than any model, else by the plan's prediction.

Does not judge (``checks.resources``).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import islice
from typing import Final

from enrich_dist.preflight.context import PreflightContext
from enrich_dist.runs.archive import archive_path, newest_first
from enrich_dist.runs.machine import this_machine
from enrich_dist.runs.metrics import total_seconds
from enrich_dist.runs.records import settings_that_matter

_RUNS: Final = 5
_LOOKED_AT: Final = 500
_FACTOR: Final = 2.0  # by which the recipients of a comparable run may be more or fewer


@dataclass(frozen=True)
class ProjectedTime:
    """Wall seconds of all steps; ``basis`` says in words what they rest on, ``runs``: on how many comparable runs."""

    seconds: float
    runs: int
    basis: str


def projected_time(context: PreflightContext) -> ProjectedTime:
    """The median of the latest runs that computed everything on an equal machine with the same settings, scaled to
    the recipients of now; where there is none, the sum of the stages as the plan predicts them. Raises what
    ``make_plan`` raises."""
    plan = context.planned().plan
    rows = plan.source_rows
    machine, settings = this_machine().digest, settings_that_matter(context.settings)
    alike = (
        record
        for record in islice(newest_first(archive_path(context.settings)), _LOOKED_AT)
        if record.computed_everything
        and record.machine.digest == machine
        and record.settings == settings
        and record.dataset.recipients
        and 1 / _FACTOR <= rows / record.dataset.recipients <= _FACTOR
    )
    seconds = [total_seconds(record) * rows / record.dataset.recipients for record in islice(alike, _RUNS)]
    if not seconds:
        predicted = sum(stage.seconds for stage in plan.prediction.stages())
        return ProjectedTime(predicted, 0, "the plan's prediction, as no comparable run was recorded")
    return ProjectedTime(statistics.median(seconds), len(seconds), f"the median of {len(seconds)} comparable runs")
