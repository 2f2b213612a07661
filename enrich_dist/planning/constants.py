"""The numbers of the cost model that no sample can tell: measured on real runs, each with how.

They lie in ``data/constants.json``, which ``scripts/measure_plan.py fit`` writes from runs that it made; times are in
yardsticks, so that they hold on faster and slower machines. Does not cover what is measured for each plan (``machine``,
``trial``), nor what runs on this very machine say (``refine``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from enrich_dist.planning.stages import STAGES

FILE: Final = "data/constants.json"
YARDSTICKS: Final = "yardsticks"
DESCRIPTIONS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "start_up": (YARDSTICKS, "imports, Dagster, opening and closing the cluster: all outside the steps"),
        "awards_fixed": (YARDSTICKS, "reading awards, whatever their number"),
        "awards_row": (YARDSTICKS, "reading an award"),
        "companies_fixed": (YARDSTICKS, "joining companies and building the index, whatever their number"),
        "companies_award": (YARDSTICKS, "the same, per award"),
        "partition_fixed": (YARDSTICKS, "cutting chunks while the cluster starts beside it"),
        "partition_beside": ("times", "seconds per row of cutting chunks in a run over those in the sample"),
        "cluster_start": (YARDSTICKS, "from the first step until workers are there"),
        "farm_beside": ("times", "seconds of a chunk in a farm over those in the sample, contention apart"),
        "farm_fixed": (YARDSTICKS, "checking what is finished, and the first chunk of each worker"),
        "driver_chunk": (YARDSTICKS, "driver and scheduler, per chunk"),
        "reduce_fixed": (YARDSTICKS, "reducing and judging, whatever there is"),
        "reduce_award": (YARDSTICKS, "the same, per award"),
        "reduce_candidate": (YARDSTICKS, "the same, per candidate"),
        "reduce_chunk": (YARDSTICKS, "the same, per chunk"),
        "publish_fixed": (YARDSTICKS, "publishing"),
        "publish_award": (YARDSTICKS, "the same, per award"),
        "report_fixed": (YARDSTICKS, "the HTML report, and the end of the process"),
        "reused": (YARDSTICKS, "a step whose output is there already"),
        "result_fixed_bytes": ("bytes", "a result directory, whatever it holds"),
        "result_award_bytes": ("bytes", "the same, per award"),
        "peak_process": ("times", "what the worker itself holds, over what the budget plans with, which is safe"),
        "peak_rest": ("times", "what index, batch, chunk and result take, over what the budget plans with"),
        "spread_memory": ("relative", "how far measured peaks lie from that"),
        **{
            f"spread_{stage}": ("relative", f"how far {stage} lay from the model in four of five runs")
            for stage in STAGES
        },
    }
)
"""Of every constant its unit and what it is."""


@dataclass(frozen=True)
class Constant:
    """A measured number; ``how``: from what it was measured; ``again``: the command that measures it anew."""

    value: float
    unit: str
    what: str
    how: str
    again: str


@cache
def constants() -> Mapping[str, Constant]:
    """All constants by name."""
    return MappingProxyType({name: Constant(**item) for name, item in document()["constants"].items()})


@cache
def document() -> dict[str, Any]:
    """The file: ``constants``, and ``measured``, which says when and on what."""
    text = resources.files(__package__).joinpath(FILE).read_text("utf-8")
    return dict(json.loads(text))
