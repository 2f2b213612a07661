"""The outcome of a preflight: for the terminal, as Markdown, and as the JSON object that the gate keeps.

All three show the same results, none judges anything. Does not cover how an item is found out (``checks``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from enrich_dist.preflight.outcome import Outcome, Status

_STYLES: Final = {
    Status.PASSED: "green",
    Status.WARNING: "yellow",
    Status.FAILED: "bold red",
    Status.UNKNOWN: "magenta",
}


@dataclass(frozen=True)
class Result:
    """One item and what was found. ``remedy``: what helps; None where nothing has to."""

    id: str
    title: str
    critical: bool
    finding: Outcome
    remedy: str | None
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether runs may begin as far as this item goes."""
        return not self.critical or self.finding.status.holds


@dataclass(frozen=True)
class Report:
    """All results. ``timestamp``: when the preflight began, ISO 8601, UTC."""

    environment: str
    revision: str
    version: str
    source_digest: str
    timestamp: str
    settings_digest: str
    settings: dict[str, Any]
    """By dotted key."""
    results: tuple[Result, ...]

    @property
    def ready(self) -> bool:
        """Whether all critical items hold."""
        return bool(self.results) and all(result.holds for result in self.results)

    @property
    def open_items(self) -> list[Result]:
        """Critical items that do not hold."""
        return [result for result in self.results if not result.holds]

    def verdict(self) -> str:
        """One sentence."""
        counts = ", ".join(
            f"{count} {status}"
            for status in Status
            if (count := sum(result.finding.status is status for result in self.results))
        )
        if self.ready:
            return f"Ready for {self.environment}: all critical items hold ({counts})."
        return f"Not ready for {self.environment}: {', '.join(item.id for item in self.open_items)} ({counts})."


def to_document(report: Report) -> dict[str, Any]:
    """The report as a JSON object."""
    return {
        "ready": report.ready,
        "verdict": report.verdict(),
        **{name: value for name, value in asdict(report).items() if name != "results"},
        "items": [
            {
                "id": result.id,
                "title": result.title,
                "critical": result.critical,
                "status": str(result.finding.status),
                "summary": result.finding.summary,
                "facts": dict(result.finding.facts),
                "remedy": result.remedy,
                "seconds": result.seconds,
            }
            for result in report.results
        ],
    }


def markdown(report: Report) -> str:
    """The report as a document."""
    lines = [
        f"# Readiness for {report.environment}",
        "",
        f"**{report.verdict()}**",
        "",
        f"Revision {report.revision} (version {report.version}), settings {report.settings_digest[:12]}, "
        f"{report.timestamp}.",
        "",
        "| item | critical | status | found | what helps |",
        "|---|---|---|---|---|",
    ]
    for result in report.results:
        cells = (
            result.title,
            "yes" if result.critical else "no",
            str(result.finding.status),
            result.finding.summary,
            result.remedy or "",
        )
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    lines += ["", "## Facts", "", "| item | fact | value |", "|---|---|---|"]
    for result in report.results:
        for name, value in result.finding.facts.items():
            lines.append(f"| {result.id} | {_cell(name)} | {_cell('' if value is None else str(value))} |")
    return "\n".join(lines) + "\n"


def print_report(console: Console, report: Report) -> None:
    """The report in the terminal."""
    table = Table("status", "item, what was found, and what helps", box=None, pad_edge=False)
    for result in report.results:
        status = result.finding.status
        title = Text(result.title if result.critical else f"{result.title} (not critical)", style="bold")
        lines = [title, Text(result.finding.summary)]
        if result.remedy:
            lines.append(Text(f"→ {result.remedy}", style="dim"))
        table.add_row(Text(str(status), style=_STYLES[status]), Group(*lines))
    console.print(table)
    console.print()
    console.print(Text(report.verdict(), style="bold green" if report.ready else "bold red"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
