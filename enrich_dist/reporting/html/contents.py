"""The contents of a report from top to bottom: headline, tiles and sections."""

from __future__ import annotations

from typing import Any, Literal

from enrich_dist.core.tables import megabytes, percent
from enrich_dist.events import format_duration
from enrich_dist.reporting.html import result_sections, run_sections
from enrich_dist.reporting.html.report_data import ReportData
from enrich_dist.reporting.html.section import Section, Tile


def tiles(data: ReportData) -> list[Tile]:
    """Return the numbers at the top."""
    metrics, checks = data.metrics, {check["name"]: check for check in data.verdict["checks"]}
    precision, recall = metrics["accuracy"]["precision"], metrics["accuracy"]["recall"]

    def tone(check: str) -> Literal["good", "bad"]:
        return "good" if checks[check]["passed"] else "bad"

    def threshold(check: str) -> str:
        return f"threshold {percent(checks[check]['threshold'])}"

    found = [
        Tile("Match rate", percent(metrics["match_rate"]), f"of awards; {threshold('match_rate')}", tone("match_rate")),
        Tile(
            "Match rate by company",
            percent(metrics["companies"]["match_rate"]),
            f"of {metrics['companies']['valid']:,} companies",
        ),
        Tile(
            "Estimated precision",
            _estimate(precision),
            f"{_interval(precision)}; {threshold('estimated_precision')}",
            tone("estimated_precision"),
        ),
        Tile("Estimated recall", _estimate(recall), _interval(recall)),
        Tile("Run time", format_duration(data.run.numbers["run_seconds"]), "all steps of this run"),
    ]
    if data.workers:
        highest = max(data.workers, key=lambda worker: worker.peak_memory_bytes)
        limit = f"limit {megabytes(highest.memory_limit_bytes)} MB" if highest.memory_limit_bytes else "no limit"
        found.append(Tile("Worker memory", f"{megabytes(highest.peak_memory_bytes)} MB", f"highest peak; {limit}"))
    return found


def all_sections(data: ReportData) -> list[Section]:
    """Return the sections in their order."""
    return [
        result_sections.verdict(data),
        run_sections.comparison(data),
        result_sections.methods(data),
        result_sections.groups(data),
        result_sections.distributions(data),
        result_sections.calibration(data),
        result_sections.unresolved(data),
        run_sections.steps(data),
        run_sections.plan(data),
        run_sections.timeline(data),
        run_sections.memory(data),
        run_sections.failures(data),
        result_sections.reconciliation(data),
        result_sections.model(data),
        run_sections.settings(data),
    ]


def _estimate(share: dict[str, Any]) -> str:
    return "–" if share["estimate"] is None else percent(share["estimate"])


def _interval(share: dict[str, Any]) -> str:
    if share["estimate"] is None:
        return "no match is accepted"
    return f"95% interval {percent(share['low'])} to {percent(share['high'])}"
