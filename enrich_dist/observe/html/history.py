"""What a run is compared with: the figures of earlier runs, and of a baseline that a person has chosen.

One JSON object a line in ``steps/runs.jsonl``, for every result that was reported; the last line of a result counts.
The figures are those of the steps' records, by the same names. Covers keeping and finding them. Does not judge a
change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.observe.json_lines import read_json_lines
from enrich_dist.store.files import read_json, write_json
from enrich_dist.store.rundir import StepReport, run_totals

_QUALITY = (
    "match_rate",
    "match_rate_by_company",
    "estimated_precision",
    "estimated_recall",
    "awards_matched",
    "awards_review",
    "awards_unmatched",
)
_FARM = ("chunks_computed", "farm_seconds", "worker_peak_memory_mb", "failed_attempts", "degradations")


@dataclass(frozen=True)
class RunSummary:
    """``result``: name of the result directory; ``finished_seconds``: since 1970; ``numbers``: by their names in the
    steps' records."""

    run_id: str
    result: str
    finished_seconds: float
    status: str
    numbers: Mapping[str, float]

    @property
    def key(self) -> tuple[str, str]:
        """What tells one reported run from another."""
        return self.run_id, self.result


def summarise(steps: Mapping[str, StepReport], status: str, finished_seconds: float) -> RunSummary:
    """The latest run's figures, from the records of its steps."""
    judged = steps["enriched_awards"]
    numbers: dict[str, float] = {name: judged.numbers[name] for name in _QUALITY if name in judged.numbers}
    # A run that only judged anew has no farm of its own: another's figures are not its.
    farmed = steps.get("chunk_matches")
    if farmed is not None and farmed.run_id == judged.run_id:
        numbers |= {name: farmed.numbers[name] for name in _FARM if name in farmed.numbers}
    totals = run_totals(steps, judged.run_id)
    numbers |= {"run_seconds": totals.seconds, "run_peak_memory_mb": round(totals.peak_memory_bytes / 1e6, 1)}
    return RunSummary(judged.run_id, Path(judged.paths["result"]).name, finished_seconds, status, numbers)


def read_history(path: Path) -> list[RunSummary]:
    """All reported runs, the oldest first; empty where there is none. Lines that cannot be read are left out."""
    found: dict[tuple[str, str], RunSummary] = {}
    for line in read_json_lines(path):
        try:
            summary = _summary(line)
        except (ValueError, TypeError):
            continue
        found.pop(summary.key, None)
        found[summary.key] = summary
    return list(found.values())


def keep(path: Path, summary: RunSummary) -> None:
    """Add a run to the history."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(summary), sort_keys=True) + "\n")


def write_baseline(path: Path, summary: RunSummary) -> None:
    """Keep a run as the one that others are compared with."""
    write_json(path, asdict(summary))


def read_baseline(path: Path) -> RunSummary:
    """The baseline in a file.

    Raises ``StateError`` when there is none, ``CorruptionError`` when the file is something else.
    """
    try:
        return _summary(read_json(path))
    except FileNotFoundError as error:
        raise StateError(
            f"There is no baseline {path}.", remedy="Make one with: enrich-dist report --save-baseline FILE"
        ) from error
    except (ValueError, TypeError) as error:
        raise CorruptionError(
            f"{path} is not a baseline.", remedy="Make one with: enrich-dist report --save-baseline FILE"
        ) from error


def _summary(document: Any) -> RunSummary:
    summary = RunSummary(**document)
    numbers = {str(name): float(value) for name, value in dict(summary.numbers).items()}
    return RunSummary(
        str(summary.run_id), str(summary.result), float(summary.finished_seconds), str(summary.status), numbers
    )
