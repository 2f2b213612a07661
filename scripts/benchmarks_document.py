"""Renders the tables of ``docs/performance/enrichment-benchmarks.md`` from the figures in ``reports/benchmarks``.

    python -m scripts.benchmarks_document

A part of the document between ``<!-- part: NAME ... -->`` and ``<!-- end -->`` is made here, from the latest file of
the scenario; the words around it are written by hand. A test compares. Does not measure: that do
``scripts/benchmark_enrichment.py`` and ``scripts/measure_settings.py``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.files import read_json

ROOT: Final = Path(__file__).resolve().parents[1]
REPORTS: Final = ROOT / "reports" / "benchmarks"
DOCUMENT: Final = ROOT / "docs" / "performance" / "enrichment-benchmarks.md"
_PART = re.compile(r"(<!-- part: (\w+), made by [^\n]* -->\n\n).*?(\n<!-- end -->)", re.DOTALL)


def main() -> None:
    """Put the parts into the document."""
    DOCUMENT.write_text(render(DOCUMENT.read_text("utf-8")), "utf-8")


def render(text: str) -> str:
    """The document with its parts made anew. Raises ``KeyError`` for a part that nobody makes."""
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]().strip()}\n{match[3]}", text)


def latest(scenario: str) -> tuple[Path, dict[str, Any]]:
    """The latest recorded file of a scenario, and what it says; trials do not count."""
    for path in sorted(REPORTS.glob(f"*-{scenario}.json"), reverse=True):
        document = read_json(path)
        if not document["quick"]:
            return path, document
    raise FileNotFoundError(f"{REPORTS} has no file of scenario {scenario}")


def expectations() -> str:
    """What to expect by size, with two workers."""
    rows = []
    for scenario in ("demo", "growth", "scale", "full"):
        path, document = latest(scenario)
        cases = document["cases"][:1] if scenario == "demo" else document["cases"]
        for case in cases:
            medians = case["medians"]
            # The sample's case does not name its sizes.
            steps = case["runs"][0]["steps"]
            recipients, companies = steps["chunk_matches"]["rows"], steps["award_companies"]["rows"]
            rows.append((recipients, companies, [
                f"{recipients:,} × {companies:,}", f"{medians['wall_seconds']:.0f}", f"{medians['farm_seconds']:.1f}",
                f"{medians['worker_peak_mb']:.0f}", f"{medians['driver_peak_mb']:.0f}", _link(path, document),
            ]))  # fmt: skip
    head = ["recipients × companies", "whole command (seconds)", "matching (seconds)", "peak per worker (MB)",
            "peak of the driver (MB)", "recorded"]  # fmt: skip
    return _table(head, [cells for *_, cells in sorted(rows, key=lambda row: row[:2])], words=(0, 5))


def sample() -> str:
    """The bundled sample, first run and again."""
    path, document = latest("demo")
    fresh, again = (case["medians"] for case in document["cases"])
    rows = [
        ["whole command (seconds)", f"{fresh['wall_seconds']:.1f}", f"{again['wall_seconds']:.1f}"],
        ["of which matching", f"{fresh['farm_seconds']:.1f}", f"{again['farm_seconds']:.1f}"],
        ["of which imports, Dagster and cluster start", f"{fresh['outside_steps_seconds']:.1f}",
         f"{again['outside_steps_seconds']:.1f}"],
        ["peak per worker (MB)", f"{fresh['worker_peak_mb']:.0f}", ""],
    ]  # fmt: skip
    return f"Medians of {document['repeats']} runs, {_link(path, document)}.\n\n" + _table(
        ["", "first run", "again, nothing changed"], rows
    )


def scale() -> str:
    """Memory at two sizes."""
    path, document = latest("scale")
    small, large = (case["medians"] for case in document["cases"])
    figures = {"worker_peak_mb": ("peak per worker (MB)", 0), "driver_peak_mb": ("peak of the driver (MB)", 0),
               "farm_seconds": ("matching (seconds)", 1), "wall_seconds": ("whole command (seconds)", 1)}  # fmt: skip
    rows = [
        [name, f"{small[key]:.{digits}f}", f"{large[key]:.{digits}f}", f"{large[key] / small[key]:.2f}"]
        for key, (name, digits) in figures.items()
    ]
    head = ["", *(f"{medians['recipients']:,} recipients" for medians in (small, large)), "ratio"]
    return (
        f"Generated recipients × {small['companies']:,} companies, {small['workers']} workers, `chunk_size` of "
        f"{small['chunk_size']:,}; {_link(path, document)}.\n\n{_table(head, rows)}"
    )


def growth() -> str:
    """What more recipients, and what more companies cost."""
    path, document = latest("growth")
    cases = [case["medians"] for case in document["cases"]]
    figures = {"farm_seconds": ("matching (seconds)", 1), "wall_seconds": ("whole command (seconds)", 1),
               "worker_peak_mb": ("peak per worker (MB)", 0)}  # fmt: skip
    rows = [[name, *(f"{medians[key]:.{digits}f}" for medians in cases)] for key, (name, digits) in figures.items()]
    head = ["recipients × companies", *(f"{medians['recipients']:,} × {medians['companies']:,}" for medians in cases)]
    return f"One run each, two workers, {_link(path, document)}.\n\n{_table(head, rows)}"


def settings() -> str:
    """What the settings of chunks, batches and workers cost and save."""
    path, document = latest("settings")
    text = f"Medians of {next(iter(document['sizes'].values()))['rounds']} rounds, {_link(path, document)}.\n"
    for size in document["sizes"].values():
        rows = []
        for name, profile in document["profiles"].items():
            figures = size["profiles"][name]
            medians, ratios = figures["medians"], figures["ratios"]
            rows.append([
                name, profile["purpose"], f"{medians['chunks']:.0f}", f"{medians['worker_peak_mb']:.0f}",
                f"{medians['workers_together_peak_mb']:.0f}", f"{ratios['cpu_seconds']:.2f}",
            ])  # fmt: skip
        head = ["profile", "for", "chunks", "peak of a worker (MB)", "of all workers (MB)", "CPU, times the default"]
        text += f"\n{size['recipients']:,} recipients × {size['companies']:,} companies:\n\n"
        text += _table(head, rows, words=(0, 1)) + "\n"
    return (
        text
        + "\nThe settings of each:\n\n"
        + _table(
            ["profile", "settings"],
            [[name, _arguments(profile["settings"]) or "none"] for name, profile in document["profiles"].items()],
            words=(0, 1),
        )
    )


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "expectations": expectations,
    "sample": sample,
    "scale": scale,
    "growth": growth,
    "settings": settings,
}


def _arguments(settings: Mapping[str, int]) -> str:
    return " ".join(f"`--set {key}={value}`" for key, value in settings.items())


def _link(path: Path, document: Mapping[str, Any]) -> str:
    target = Path(os.path.relpath(path, DOCUMENT.parent)).as_posix()
    return f"[{document['timestamp'][:10]}]({target})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int] = (0,)) -> str:
    """Columns ``words`` to the left, the others, which are numbers, to the right."""
    line = ["---" if column in words else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, line, *rows)) + "\n"


if __name__ == "__main__":
    main()
