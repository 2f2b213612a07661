"""``enrich-dist evaluate``: measure a result against labelled companies."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enrich_dist.cli.link import Columns, column_map
from enrich_dist.cli.options import Config, Json, Overrides, WorkDir, load_settings, override_texts, print_json
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import SettingsError

if TYPE_CHECKING:
    import pyarrow as pa

    from enrich_dist.evaluation.subjects import Subject
    from enrich_dist.settings import Settings


def evaluate(
    labels: Annotated[
        Path, typer.Option(help="Labels: a row per company and right recipient, without recipient for no partner.")
    ],
    run: Annotated[str | None, typer.Option(help="Run id or its first characters, latest (default), previous.")] = None,
    links: Annotated[Path | None, typer.Option(help="Instead of a run: a file that `enrich-dist link` wrote.")] = None,
    left: Annotated[Path | None, typer.Option(help="Instead of a run: the left table, which is linked again.")] = None,
    right: Annotated[Path | None, typer.Option(help="The right table; needs --left.")] = None,
    left_column: Columns = None,
    right_column: Columns = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=HEADER", help="Another column name of the labels, for example company=Firm."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="RUN_OR_FILE", help="Also compare with this run, or file of links.")
    ] = None,
    hide_identifiers: Annotated[
        bool, typer.Option("--hide-identifiers", help="Score without UEI, DUNS and human review decisions.")
    ] = False,
    precision: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Precision at which the recall is reported.")
    ] = 0.98,
    examples: Annotated[int, typer.Option(min=0, help="False matches and misses to show.")] = 5,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="All errors with reasons: .csv, .parquet, .jsonl or .xlsx.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a page with charts.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as Markdown.")] = None,
    as_json: Json = False,
    work_dir: WorkDir = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Measure precision, recall, calibration and blocking of a result against labels, and explain its errors.

    Labels name a company by company_key, award or company (with city, state, zip), for linked tables by left_id, and
    its recipient by recipient_id or recipient_uei.

    Example: `enrich-dist evaluate --labels labels.csv --html evaluation.html`
    """
    if sum((run is not None, links is not None, left is not None or right is not None)) > 1 or (left is None) != (
        right is None
    ):
        raise SettingsError("Nothing to evaluate.", remedy="Give one of --run, --links, and --left with --right.")
    if hide_identifiers and links is not None:
        raise SettingsError(
            "Identifiers of a file of links cannot be hidden.", remedy="Give its tables with --left and --right."
        )
    texts = [*(overrides or []), *override_texts([("paths.work_dir", work_dir)])]
    settings = load_settings(config, texts).settings
    from enrich_dist.evaluation import subjects
    from enrich_dist.evaluation.compare import compare as compare_evaluations
    from enrich_dist.evaluation.evaluate import evaluate as evaluate_subject
    from enrich_dist.evaluation.labels import read_labels
    from enrich_dist.reporting import evaluation as reporting
    from enrich_dist.reporting.html.evaluation_page import require_outputs, write_outputs

    inputs = [path for path in (labels, links, left, right) if path is not None]
    require_outputs(out=out, html=html, markdown=markdown, inputs=inputs)
    read = read_labels(labels, column_map(column))

    subject: AbstractContextManager[Subject]

    def opened(run: str | None, links: Path | None) -> AbstractContextManager[Subject]:
        return _open(settings, read, run=run, links=links, hide_identifiers=hide_identifiers)

    if left is not None and right is not None:
        subject = subjects.open_tables(
            left,
            right,
            left_columns=column_map(left_column),
            right_columns=column_map(right_column),
            candidates=settings.matching.candidates(),
            decision=settings.matching.decision(),
            hide_identifiers=hide_identifiers,
        )
    else:
        subject = opened(run, links)
    with subject as first:
        found = evaluate_subject(first, read, floor=precision)
    comparison = None
    if compare is not None:
        is_file = Path(compare).is_file()
        with opened(None if is_file else compare, Path(compare) if is_file else None) as second:
            comparison = compare_evaluations(found, evaluate_subject(second, read, floor=precision))
    written = write_outputs(found, comparison, out=out, html=html, markdown=markdown)
    if as_json:
        print_json(reporting.evaluation_document(found, comparison))
        return
    console = PlainConsole(wrap=True)
    reporting.print_evaluation(console, found, comparison, examples=examples)
    console.print()
    for label, path in written:
        console.print(f"{label:<10} {path}", soft_wrap=True)


def _open(
    settings: Settings, labels: pa.Table, *, run: str | None, links: Path | None, hide_identifiers: bool
) -> AbstractContextManager[Subject]:
    from enrich_dist.evaluation import subjects
    from enrich_dist.runs.journal import LATEST
    from enrich_dist.store.run_directory import RunDirectory

    if links is not None:
        return subjects.open_links(links, labels)
    return subjects.open_run(
        RunDirectory(settings.paths.work_dir),
        run or LATEST,
        decision=settings.matching.decision(),
        hide_identifiers=hide_identifiers,
    )
