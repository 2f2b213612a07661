"""Generate the documents under ``docs/reference`` from the code: ``python -m scripts.reference``.

Commands come from the command line, exit codes from ``errors``, tables from ``schema`` with the comments of their
columns, events from ``events``, metrics from ``monitoring.prometheus``. A test compares the files with this output, and
``FIGURES`` with the figures of a real run. Does not cover settings: see ``config/base.yaml``.
"""

from __future__ import annotations

import ast
import html
import inspect
import io
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, cast

import pyarrow as pa
import typer.main
from typer.cli import get_docs_for_click

from enrich_dist import errors, events, schema
from enrich_dist.cli.main import app
from enrich_dist.events import Step
from enrich_dist.monitoring.prometheus.metrics import METRICS, Metric

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
_MADE_BY = "<!-- Made by `python -m scripts.reference`: change the code, not this file. -->\n\n"

# Files and published tables that contain each table of ``schema``.
TABLES: Final = {
    "AWARD": "`awards/<key>/awards.parquet`; the first columns of `enriched_awards`",
    "AWARD_MATCH": "the last columns of `enriched_awards`: published, Parquet and database",
    "COMPANY_MATCH": "`company_matches`: published, Parquet and database",
    "COMPANY": "`companies/<key>/companies.parquet`; `companies` of the published database",
    "REJECT": "`rejects.csv` and `rejects` of the published database",
    "SHARED_IDENTIFIER": "`shared_identifiers` of the published database",
    "OVERRIDE": "`overrides.parquet`; `overrides` of the published database",
    "RECIPIENT": "`chunks/<key>/*.parquet`",
    "CANDIDATE": "`checkpoints/<key>.parquet`",
    "COMPARISON": "columns of a candidate, and of `company_matches`",
    "RECIPIENT_KEY": "columns of a candidate",
    "COUNT": "`checkpoints/<key>.counts.parquet`",
    "AWARD_COMPANY": "`companies/<key>/award_companies.parquet`",
    "NAME_HISTORY": "output of `enrich-dist names`",
}
# Columns of ``schema`` that hold the values of an enumeration.
CODES: Final[Mapping[str, type[schema.Level]]] = {
    "*_agreement (int8)": schema.Agreement,
    "name_level": schema.NameLevel,
    "sibling_level": schema.SiblingLevel,
    "place_level": schema.PlaceLevel,
    "street_level": schema.StreetLevel,
    "address_level": schema.AddressLevel,
    "name_kind": schema.NameKind,
}

# Figures of the steps in Dagster and in ``steps/<step>.json``. <kind> and <method> are placeholders.
FIGURES: Final[Mapping[str, Mapping[str, str]]] = {
    "every step": {
        "rows": "Rows of the step's output.",
        "seconds": "Wall time. Absent, like the next two, if something was reused: plots show whole steps only.",
        "rows_per_second": "Rows divided by seconds.",
        "peak_memory_mb": "Peak resident memory of the driver during the step.",
        "took": "Time and memory of a step that reused something, as text.",
        "reused": "Whether an existing valid output was used and nothing was computed.",
    },
    Step.SBIR_AWARDS: {
        "rows_read": "Rows of the source.",
        "rows_rejected": "Of those, rows that cannot be used (`rejects.csv`).",
        "cells_repaired": "Values that were removed or changed in rows that were kept.",
        "bytes_repaired": "Bytes that were invalid in the encoding of the file.",
    },
    Step.AWARD_COMPANIES: {
        "index_bytes": "Size of the index that every worker opens.",
        "names_kept_apart": "Names in a state that companies with different UEIs share.",
    },
    Step.RECIPIENT_CHUNKS: {
        "source_rows": "Rows of the source.",
        "rows_rejected": "Of those, rows that cannot be used.",
        "chunks": "Chunks that were written.",
        "chunk_size_rows": "`chunk_size`.",
        "chunk_bytes": "Size of all chunks.",
    },
    Step.CHUNK_MATCHES: {
        "chunks": "Chunks of the result.",
        "chunks_computed": "Chunks that this run matched.",
        "chunks_resumed": "Chunks with a valid checkpoint of an earlier run.",
        "chunks_doubled": "Chunks with a backup task, because the first attempt took long.",
        "chunks_in_parts": "Chunks that were split because they exceeded the memory of a worker.",
        "chunks_degraded": "Chunks with smaller batches, because the worker was near its memory limit.",
        "degradations": "Number of times that the batch size was halved.",
        "batch_rows": "Rows of a batch.",
        "batch_rows_least": "Rows of the smallest batch.",
        "candidates": "Candidate pairs found.",
        "checkpoints_damaged": "Invalid checkpoints, which were recomputed.",
        "failed_attempts": "Failed attempts.",
        "failed_attempts_<kind>": "Failed attempts of this kind ([failure handbook](../how-to/handle-failures.md)).",
        "rows_quarantined": "Recipients that were quarantined, because matching them raises an error.",
        "farm_seconds": "Wall time with chunks in flight.",
        "farm_records_per_second": "Recipients matched per second of `farm_seconds`.",
        "workers": "Worker processes that finished a chunk in this run.",
        "run_worker_peak_memory_mb": "Peak resident memory of any worker process of this run.",
        "workers_memory_sum_mb": "Sum of the peaks of all workers of this run.",
        "worker_restarts": "Number of worker restarts.",
        "worker_peak_memory_mb": "Peak resident memory of any worker during a chunk.",
        "worker_projected_peak_memory_mb": "Projection of that peak before the run.",
        "worker_memory_threshold_mb": "`memory_threshold_mb`.",
    },
    Step.ENRICHED_AWARDS: {
        "match_rate": "Awards with an accepted match, divided by valid awards.",
        "match_rate_by_company": "Companies with an accepted match, divided by companies.",
        "match_rate_threshold": "The setting.",
        "estimated_precision": "Expected share of right matches among the accepted, from their probabilities.",
        "estimated_recall": "Expected right matches, divided by companies expected to have a partner.",
        "min_estimated_precision": "The setting.",
        "verdict_passed": "1 if the result may be published, else 0.",
        "awards_matched": "Awards with an accepted match.",
        "awards_matched_by_<method>": "Awards whose match was found by this method.",
        "awards_review": "Awards whose candidate awaits clerical review.",
        "awards_unmatched": "Awards without a match or a candidate for review.",
        "match_rate_uei_and_duns": "Match rate of the awards with both identifiers.",
        "match_rate_uei_only": "Match rate of the awards with a UEI only.",
        "match_rate_duns_only": "Match rate of the awards with a DUNS only.",
        "match_rate_no_identifier": "Match rate of the awards without identifiers.",
        "companies_probability_<band>": "Companies whose best candidate has a match probability in this band, in %.",
        "companies_matched": "Companies with an accepted match.",
        "companies_review": "Companies whose candidate awaits clerical review.",
        "companies_unmatched": "Companies without a match or a candidate for review.",
    },
    Step.PUBLISHED_AWARDS: {
        "match_rate": "Match rate of the published result.",
        "published_bytes": "Size of the published files.",
    },
    "enriched_awards and published_awards, for the whole run (only in Dagster)": {
        "run_seconds": "Wall time of all steps.",
        "run_rows": "Rows of the outputs of all steps.",
        "run_driver_peak_memory_mb": "Peak resident memory of the driver.",
        "run_worker_peak_memory_mb": "Peak resident memory of any worker process.",
        "run_memory_sum_mb": "Sum of the peaks of the driver and of all workers.",
        "run_steps": "Steps of the run.",
        "resumed_run_…": "The same of a run that reused something: plots of `run_…` show whole runs only.",
        "failed_run_…": "The same of a failed run until then, as an observation of the asset that failed.",
    },
}


def main() -> None:
    """Write all documents."""
    for name, text in documents().items():
        REFERENCE.mkdir(exist_ok=True)
        (REFERENCE / name).write_text(text, "utf-8")


def documents() -> dict[str, str]:
    """Return the text of each document by file name."""
    return {
        "cli.md": command_line(),
        "exit-codes.md": exit_codes(),
        "tables.md": tables(),
        "metrics.md": metrics(),
        "events.md": run_events(),
    }


def command_line() -> str:
    """Return every command with its arguments and options."""
    command = typer.main.get_command(app)
    context = cast(typer.Context, command.make_context("enrich-dist", [], resilient_parsing=True))
    text = html.unescape(get_docs_for_click(obj=command, ctx=context, name="enrich-dist", title="Command line"))
    # Placeholders in angle brackets outside code would become HTML tags.
    assert not re.search(r"^[^`]*<\w", text, flags=re.MULTILINE), "a placeholder outside code"
    intro = (
        "`--debug`, anywhere on the command line, adds the traceback to an error. See also the "
        "[exit codes](exit-codes.md) and the settings for `--set` in `config/base.yaml`.\n\n"
    )
    title, rest = text.split("\n", 1)
    return f"{title}\n\n{_MADE_BY}{intro}{rest.strip()}\n"


def exit_codes() -> str:
    """Return the exit codes, and the errors with theirs."""
    comments = _comments(errors)
    codes = {
        value: (name.removeprefix("EXIT_").lower().replace("_", " "), comments[name])
        for name, value in vars(errors).items()
        if name.startswith("EXIT_")
    }
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.EnrichError)]
    lines = [
        "# Exit codes and errors\n",
        _MADE_BY,
        *_table(("code", "name", "meaning"), [(str(code), *codes[code]) for code in sorted(codes)]),
        "\nEvery error is one line on standard error: what happened, where, and what to do. An error that is not "
        "listed here is unexpected and has exit code 1; `--debug` shows its traceback.\n",
        *_table(
            ("error", "exit code", "when"),
            [
                (f"`{kind.__name__}`", str(kind.exit_code), _first_paragraph(kind))
                for kind in sorted(kinds, key=lambda kind: (kind.exit_code, kind.__name__))
                if kind is not errors.EnrichError
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


def tables() -> str:
    """Return the columns of every table with type and meaning."""
    comments = _comments(schema)
    lines = [
        "# Tables\n",
        _MADE_BY + "Columns of the files of a run and of the published tables, from `enrich_dist/schema.py`. Text "
        'columns contain cleaned text or null, never `""`. `source_row` is the row number in the source: in CSV as a '
        "spreadsheet counts (the header is row 1), in Parquet from 1.\n",
    ]
    for name, where in TABLES.items():
        table: pa.Schema = getattr(schema, name)
        columns = []
        for field in table:
            meaning = next((comments[key] for key in _places(name, field.name) if key in comments), "")
            columns.append((f"`{field.name}`", f"{field.type}" + ("" if field.nullable else ", never null"), meaning))
        lines += [
            f"## {name}\n",
            f"{where[0].upper()}{where[1:]}.\n",
            comments[name].replace("``", "`") + "\n",
            *_table(("column", "type", "meaning"), columns),
            "",
        ]
    lines += ["## Codes\n"]
    for column, levels in CODES.items():
        values = [(f"`{level.name}`", str(level.value), level.label) for level in levels]
        lines += [
            f"### {column}\n",
            f"{levels.__name__}: {_first_paragraph(levels)}\n",
            *_table(("name", "value", "meaning"), values),
            "",
        ]
    rows = [(f"`{kind}`", comments[f"COUNT_KINDS.{kind}"]) for kind in schema.COUNT_KINDS]
    lines += ["### kind of a count\n", *_table(("kind", "counts"), rows)]
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """Return the metrics for Prometheus, and the figures that Dagster plots."""

    def metric_table(chosen: Sequence[Metric]) -> list[str]:
        return _table(
            ("metric", "labels", "meaning"),
            [(f"`{metric.full_name}`", ", ".join(metric.labels), metric.text) for metric in chosen],
        )

    lines = [
        "# Metrics\n",
        _MADE_BY + "To enable Prometheus, alerts and the dashboard, see [monitoring](../how-to/monitor.md).\n",
        "## Metrics during a run\n",
        "Only at the endpoint, together with `process_*` of the driver.\n",
        *metric_table([metric for metric in METRICS if metric.live]),
        "\n## Metrics after a run\n",
        "At the endpoint, the Pushgateway and in the metrics file. Metrics of steps, farm and result describe the "
        "latest execution of the step in the work directory; a failed run does not change the verdict of an earlier "
        "one. `outcome` is `published`, `blocked` (by the quality gate), `failed`, or `unpublished` (all steps that "
        "ran succeeded, but the job was partial, or a Dagster asset check blocked publication).\n",
        *metric_table([metric for metric in METRICS if not metric.live]),
        "\n## Figures of the steps\n",
        "Metadata of each materialization in Dagster. The names are stable, so that the UI plots them over runs. "
        "`steps/<step>.json` of the work directory contains the same figures. 1 MB is 1,000,000 bytes.\n",
    ]
    for step, figures in FIGURES.items():
        lines += [
            f"### {step}\n",
            *_table(("figure", "meaning"), [(f"`{key}`", what) for key, what in figures.items()]),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def run_events() -> str:
    """Return the events of a run with their fields."""
    tree = ast.parse(inspect.getsource(events))
    fields = {node.name: _documented_fields(node) for node in tree.body if isinstance(node, ast.ClassDef)}
    lines = [
        "# Run events\n",
        _MADE_BY + "Listeners receive these events: the terminal, Dagster's log, the files under `steps/`, "
        "Prometheus. A listener is a function with one event as its argument; `enrich_dist.events.listening` registers "
        "it. A listener that raises an exception is removed, and the run continues.\n",
    ]
    for name, documented in fields.items():
        rows = [(f"`{field}`", f"`{type_}`", text) for field, type_, text in documented]
        lines += [
            f"## {name}\n",
            _first_paragraph(getattr(events, name)) + "\n",
            *_table(("field", "type", "meaning"), rows),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _documented_fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and docstring of each field of a dataclass."""
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = " ".join(str(after.value.value).split())
            yield field.target.id, ast.unparse(field.annotation), text


def _comments(module: ModuleType) -> dict[str, str]:
    """Return the comments above or after a module's constants, by name.

    The comment after an item of a constant has the key ``CONSTANT.text``, where text is the first string of the line.
    """
    source = inspect.getsource(module)
    lines = source.splitlines()
    after: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            after[token.start[0]] = token.string.removeprefix("#").strip()
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        above: list[str] = []
        line = node.lineno - 1
        while line in after and lines[line - 1].startswith("#"):
            above.insert(0, after[line])
            line -= 1
        if above or node.lineno in after:
            found[name] = " ".join(above) or after[node.lineno]
        for line in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1):
            if line in after and (text := re.search(r'"(\w+)"', lines[line - 1])):
                found[f"{name}.{text[1]}"] = after[line]
    return found


def _places(table: str, column: str) -> Iterator[str]:
    """Yield where a column may be described: in its table, or in the table that it comes from."""
    yield f"{table}.{column}"
    if column.startswith("company_"):
        yield f"COMPANY.{column}"
    yield f"COMPARISON.{column}"
    yield f"RECIPIENT.{column}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("``", "`").replace("|", "\\|") for cell in cells] for cells in rows]
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *escaped)]


def _first_paragraph(thing: object) -> str:
    text = inspect.getdoc(thing) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("``", "`")


if __name__ == "__main__":
    main()
