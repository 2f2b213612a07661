"""Render the tables of ``docs/performance/enrichment-benchmarks.md`` from the records in ``reports/benchmarks``.

    python -m scripts.benchmarks_document

The text between ``<!-- part: NAME ... -->`` and ``<!-- end -->`` is generated from the latest record of the scenario;
the rest is written by hand. ``scripts.benchmark_enrichment`` measures. A test compares the document with the records.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scripts.benchmark_enrichment import PROFILES
from scripts.measuring import ROOT, latest_record

DOCUMENT: Final = ROOT / "docs" / "performance" / "enrichment-benchmarks.md"
_PART = re.compile(r"(<!-- part: (\w+), made by [^\n]* -->\n\n).*?(\n<!-- end -->)", re.DOTALL)
# Figures of a case: title, and digits after the decimal point.
_FIGURES: Final = {
    "wall_seconds": ("whole command (seconds)", 1),
    "farm_seconds": ("matching (seconds)", 1),
    "worker_peak_mb": ("peak per worker (MB)", 0),
    "driver_peak_mb": ("peak of the driver (MB)", 0),
}


def main() -> None:
    """Put the tables into the document."""
    DOCUMENT.write_text(render(DOCUMENT.read_text("utf-8")), "utf-8")


def render(text: str) -> str:
    """Return the document with its tables generated again. Raises ``KeyError`` for an unknown part."""
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]().strip()}\n{match[3]}", text)


def expectations() -> str:
    """What to expect by size, with two workers."""
    rows = []
    for scenario in ("demo", "growth", "scale", "full"):
        path, document = latest_record(scenario)
        for case in document["cases"][:1] if scenario == "demo" else document["cases"]:
            steps = case["runs"][0]["steps"]  # the case of the sample does not have its sizes among the medians
            sizes = steps["chunk_matches"]["rows"], steps["award_companies"]["rows"]
            title = f"{sizes[0]:,} × {sizes[1]:,}"
            rows.append((sizes, [title, *_figures(case["medians"]), _link(path, document)]))
    head = ["recipients × companies", *(title for title, _ in _FIGURES.values()), "recorded"]
    return _table(head, [cells for _, cells in sorted(rows)], text_columns=(0, 5))


def sample() -> str:
    """The bundled sample, first run and repeated run."""
    path, document = latest_record("demo")
    fresh, again = (case["medians"] for case in document["cases"])
    titles = {
        "wall_seconds": "whole command (seconds)",
        "farm_seconds": "of which matching",
        "outside_steps_seconds": "of which imports, Dagster and cluster start",
    }
    rows = [[title, f"{fresh[key]:.1f}", f"{again[key]:.1f}"] for key, title in titles.items()]
    rows.append(["peak per worker (MB)", f"{fresh['worker_peak_mb']:.0f}", ""])
    head = ["", "first run", "again, nothing changed"]
    return f"Medians of {document['repeats']} runs, {_link(path, document)}.\n\n{_table(head, rows)}"


def scale() -> str:
    """Memory and time at two sizes."""
    path, document = latest_record("scale")
    small, large = (case["medians"] for case in document["cases"])
    head = ["", *(f"{medians['recipients']:,} recipients" for medians in (small, large)), "ratio"]
    ratios = [f"{large[key] / small[key]:.2f}" for key in _FIGURES]
    return (
        f"Generated recipients × {small['companies']:,} companies, {small['workers']} workers, `chunk_size` of "
        f"{small['chunk_size']:,}; {_link(path, document)}.\n\n{_table(head, _by_figure([small, large], ratios))}"
    )


def growth() -> str:
    """What more recipients, and more companies cost."""
    path, document = latest_record("growth")
    cases = [case["medians"] for case in document["cases"]]
    head = ["recipients × companies", *(f"{medians['recipients']:,} × {medians['companies']:,}" for medians in cases)]
    return f"One run each, two workers, {_link(path, document)}.\n\n{_table(head, _by_figure(cases))}"


def settings() -> str:
    """What the settings of chunks, batches and workers cost and save."""
    path, document = latest_record("settings")
    text = f"Medians of {next(iter(document['sizes'].values()))['rounds']} rounds, {_link(path, document)}.\n"
    head = ["profile", "for", "chunks", "peak of a worker (MB)", "of all workers (MB)", "CPU, times the default"]
    for size in document["sizes"].values():
        rows = []
        for profile in PROFILES:
            measured = size["profiles"][profile.name]
            keys = ("chunks", "worker_peak_mb", "workers_together_peak_mb")
            figures = [f"{measured['medians'][key]:.0f}" for key in keys]
            rows.append([profile.name, profile.purpose, *figures, f"{measured['ratios']['cpu_seconds']:.2f}"])
        text += f"\n{size['recipients']:,} recipients × {size['companies']:,} companies:\n\n"
        text += _table(head, rows, text_columns=(0, 1)) + "\n"
    measured = {profile.name: document["profiles"][profile.name]["settings"] for profile in PROFILES}
    rows = [[name, _arguments(values) or "none"] for name, values in measured.items()]
    return f"{text}\nThe settings of each:\n\n{_table(['profile', 'settings'], rows, text_columns=(0, 1))}"


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    part.__name__: part for part in (expectations, sample, scale, growth, settings)
}


def _figures(medians: Mapping[str, float]) -> list[str]:
    return [f"{medians[key]:.{digits}f}" for key, (_, digits) in _FIGURES.items()]


def _by_figure(cases: Sequence[Mapping[str, float]], last: Sequence[str] = ()) -> list[list[str]]:
    """One row per figure, one column per case, and a last column if there is one."""
    columns = [[title for title, _ in _FIGURES.values()], *map(_figures, cases), *([last] if last else [])]
    return [list(row) for row in zip(*columns, strict=True)]


def _arguments(settings: Mapping[str, int]) -> str:
    return " ".join(f"`--set {key}={value}`" for key, value in settings.items())


def _link(path: Path, document: Mapping[str, Any]) -> str:
    target = Path(os.path.relpath(path, DOCUMENT.parent)).as_posix()
    return f"[{document['timestamp'][:10]}]({target})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: Sequence[int] = (0,)) -> str:
    """Text columns are aligned left, the others right."""
    rule = ["---" if column in text_columns else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)) + "\n"


if __name__ == "__main__":
    main()
