"""The contents of a report from top to bottom: headline, tiles and sections."""

from __future__ import annotations

from typing import Any

from enrich_dist.core.tables import megabytes, percent
from enrich_dist.events import format_duration
from enrich_dist.reporting.html import result_sections, run_sections
from enrich_dist.reporting.html.report_data import ReportData
from enrich_dist.reporting.html.section import Section, Tile
from enrich_dist.results.reliability import describe


def tiles(data: ReportData) -> list[Tile]:
    """Return the numbers at the top."""
    metrics, checks = data.metrics, {check["name"]: check for check in data.verdict["checks"]}
    companies = metrics["companies"]

    def checked(title: str, value: str, detail: str, check: dict[str, Any]) -> Tile:
        text = f"{detail}; threshold {percent(check['threshold'])}"
        return Tile(title, value, text, "good" if check["passed"] else "bad")

    precision, precision_interval = _estimate(metrics["accuracy"]["precision"])
    if describe(metrics["accuracy"]) and metrics["accuracy"]["precision"]["estimate"] is not None:
        precision_interval += "; not reliable here"
    found = [
        checked("Match rate", percent(metrics["match_rate"]), "of awards", checks["match_rate"]),
        Tile("Match rate by company", percent(companies["match_rate"]), f"of {companies['valid']:,} companies"),
        checked("Estimated precision", precision, precision_interval, checks["estimated_precision"]),
        Tile("Estimated recall", *_estimate(metrics["accuracy"]["recall"])),
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
        run_sections.performance(data),
        run_sections.steps(data),
        run_sections.plan(data),
        run_sections.timeline(data),
        run_sections.memory(data),
        run_sections.failures(data),
        result_sections.reconciliation(data),
        result_sections.columns(data),
        result_sections.model(data),
        run_sections.settings(data),
    ]


def _estimate(share: dict[str, Any]) -> tuple[str, str]:
    if share["estimate"] is None:
        return "–", "no match is accepted"
    return percent(share["estimate"]), f"95% interval {percent(share['low'])} to {percent(share['high'])}"
