"""An evaluation as one self-contained HTML file, as Markdown, and its errors as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from enrich_dist.core.files import write_file
from enrich_dist.core.owned_files import begins_with, require_replaceable
from enrich_dist.core.table_files import require_format, write_table
from enrich_dist.core.tables import make_table, percent
from enrich_dist.evaluation.compare import Comparison
from enrich_dist.evaluation.evaluate import Evaluation, Share
from enrich_dist.evaluation.figures import BEST_F1
from enrich_dist.plain_text import markdown_text
from enrich_dist.reporting import evaluation as texts
from enrich_dist.reporting.html import charts, is_page
from enrich_dist.reporting.html.render import render_page, section_markdown
from enrich_dist.reporting.html.section import MAX_ROWS, Page, Section, Tile, make_section
from enrich_dist.sources.formats import has_columns

_MAX_POINTS: Final = 200  # of a curve
_TITLE: Final = "# Evaluation of "


def require_outputs(*, out: Path | None, html: Path | None, markdown: Path | None, inputs: Sequence[Path]) -> None:
    """Raise ``SettingsError`` unless the outputs may be written: to new files, or over earlier ones of this command."""
    if out is not None:
        require_format(out, "--out")
        is_ours = has_columns("outcome", "reason", "label_row")
        require_replaceable(out, option="--out", is_ours=is_ours, inputs=inputs)
    if html is not None:
        require_replaceable(html, option="--html", is_ours=is_page, inputs=inputs)
    if markdown is not None:
        require_replaceable(markdown, option="--markdown", is_ours=begins_with(_TITLE), inputs=inputs)


def write_outputs(
    found: Evaluation, comparison: Comparison | None, *, out: Path | None, html: Path | None, markdown: Path | None
) -> list[tuple[str, Path]]:
    """Write the outputs that are given; return their labels and paths."""
    written = []
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_table(found.errors, out)
        written.append(("Errors", out))
    sections = _sections(found, comparison)
    if html is not None:
        write_file(html, render_page(_page(found), sections))
        written.append(("Page", html))
    if markdown is not None:
        head = [f"{_TITLE}{markdown_text(found.title)}", *map(markdown_text, _intro(found))]
        write_file(markdown, "\n\n".join([*head, *map(section_markdown, sections)]) + "\n")
        written.append(("Markdown", markdown))
    return written


def _intro(found: Evaluation) -> list[str]:
    sentences = (texts.labels_sentence, texts.problems_sentence, texts.evidence_sentence)
    return [text for text in (*(sentence(found) for sentence in sentences), found.note) if text]


def _page(found: Evaluation) -> Page:
    own, best = found.own, found.points[BEST_F1]
    precision = "–" if own.precision is None else percent(own.precision)

    def interval(low: float, high: float) -> str:
        return f"95% interval {percent(low)} to {percent(high)}"

    tiles = [
        Tile("Precision", precision, interval(*own.precision_interval)),
        Tile("Recall", percent(own.recall), interval(*own.recall_interval)),
        Tile("F1", f"{own.f1:.3f}", f"best {best.f1:.3f}"),
        Tile("No partner, matched", percent(own.no_match_wrong), interval(*own.no_match_wrong_interval)),
    ]
    if found.calibration_error is not None:
        tiles.append(Tile("Calibration error", f"{found.calibration_error:.3f}", "expected, of ten bins"))
    if found.blocking is not None and found.blocking.value is not None:
        tiles.append(Tile("Blocking recall", percent(found.blocking.value), interval(*found.blocking.interval)))
    return Page(
        eyebrow="enrich-dist evaluation",
        title=f"Evaluation of {found.title}",
        badge="",
        is_good=True,
        headline=texts.labels_sentence(found),
        reasons=tuple(filter(None, [texts.problems_sentence(found)])),
        tiles=tuple(tiles),
        footer=f"Result: {found.title}.",
    )


def _sections(found: Evaluation, comparison: Comparison | None) -> list[Section]:
    sections = [
        make_section("accuracy", "Accuracy", texts.evidence_sentence(found), found.note,
                     texts.blocking_sentence(found), texts.organisation_sentence(found),
                     tables=[texts.points_table(found)]),
        _thresholds(found),
        _calibration(found),
        make_section("segments", "Outcomes by segment", "Segments marked (few) have fewer than 30 companies.",
                     tables=texts.segment_tables(found)[:2], folded=texts.segment_tables(found)[2:]),
        make_section(
            "errors", "False matches and misses",
            "Evidence is in bits: each bit doubles the odds. To see all candidates of a company of a run: enrich-dist "
            "explain --company KEY.",
            tables=texts.error_tables(found, MAX_ROWS),
        ),
    ]  # fmt: skip
    if comparison is not None:
        sections.append(
            make_section("comparison", f"Compared with {comparison.second}", texts.comparison_sentence(comparison),
                         tables=[texts.comparison_table(comparison, MAX_ROWS)])
        )  # fmt: skip
    if len(found.problems):
        problems = [texts.problems_table(found, MAX_ROWS)]
        title = "Labels that are not used"
        sections.append(make_section("problems", title, texts.problems_sentence(found), tables=problems))
    return sections


def _thresholds(found: Evaluation) -> Section:
    curve = found.curve
    count = len(curve.threshold)
    at = np.unique(np.linspace(0, count - 1, min(count, _MAX_POINTS)).astype(np.int64))
    names = ("precision", "recall", "F1")
    values = [getattr(curve, name.lower())[at].round(4).tolist() for name in names]
    thresholds = curve.threshold[at].round(6).tolist()
    title = "Accuracy by threshold"
    table = make_table(("probability", *names), zip(thresholds, *values, strict=True), f"{title}, all points")
    chart = charts.lines(
        "curve",
        title,
        f"The best F1 is {found.points[BEST_F1].f1:.3f}.",
        [(name, thresholds, series) for name, series in zip(names, values, strict=True)],
        x_title="accepted from this probability",
    )
    return make_section("thresholds", title, charts=[(chart, table)] if thresholds else [],
                        tables=[texts.thresholds_table(found, intervals=True)])  # fmt: skip


def _calibration(found: Evaluation) -> Section:
    points = [
        (item.mean_probability, item.correct / item.companies, *Share(item.correct, item.companies).interval,
         item.companies)
        for item in found.bins
    ]  # fmt: skip
    chart = charts.calibration(
        "calibration",
        "Share of right best candidates by match probability",
        "; ".join(f"at probability {mean:.2f}: {percent(share)} of {n:,}" for mean, share, _, _, n in points),
        points,
        axis="match probability",
    )
    return make_section(
        "calibration",
        "Calibration",
        texts.calibration_sentence(found),
        "On the line, probabilities are calibrated; above it, they are too low.",
        charts=[(chart, texts.calibration_table(found))] if points else [],
    )
