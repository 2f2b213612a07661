"""Writes the documents under ``docs/reference`` that say what the code says: ``python -m scripts.reference``.

Commands come from the command line itself, exit codes from ``errors``, tables from ``schema`` with the comments beside
their columns, metrics and events from ``observe``. A test compares the files with what this makes, and the figures of
``FIGURES`` with those of a real run. Does not cover the settings: ``config/base.yaml`` tells them.
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

# Where a table of ``schema`` is met.
TABLES: Final = {
    "AWARD": "`awards/<key>/awards.parquet`; the first columns of `enriched_awards`",
    "AWARD_MATCH": "the last columns of `enriched_awards`: published, Parquet and database",
    "COMPANY_MATCH": "`company_matches`: published, Parquet and database",
    "COMPANY": "`companies/<key>/companies.parquet`; `companies` of the published database",
    "REJECT": "`rejects.csv` and `rejects` of the published database",
    "OVERRIDE": "`overrides.parquet`; `overrides` of the published database",
    "RECIPIENT": "`chunks/<key>/*.parquet`",
    "CANDIDATE": "`checkpoints/<key>.parquet`",
    "COMPARISON": "columns of a candidate, and of `company_matches`",
    "COUNT": "`checkpoints/<key>.counts.parquet`",
    "AWARD_COMPANY": "`companies/<key>/award_companies.parquet`",
}
# Columns of ``schema`` that hold the values of an enumeration.
CODES: Final[Mapping[str, type[schema.Level]]] = {
    "*_agreement (int8)": schema.Agreement,
    "name_level": schema.NameLevel,
    "place_level": schema.PlaceLevel,
    "street_level": schema.StreetLevel,
    "name_kind": schema.NameKind,
}

# Figures of the steps, as Dagster plots them and ``steps/<step>.json`` keeps them. <kind> and <method> stand for names.
FIGURES: Final[Mapping[str, Mapping[str, str]]] = {
    "every step": {
        "rows": "Rows of the step's output.",
        "seconds": "Wall time.",
        "rows_per_second": "Rows over seconds; absent where the output was there already.",
        "peak_memory_mb": "Most resident memory of the driver during the step.",
        "reused": "Whether a valid output was there already and nothing was computed.",
    },
    Step.SBIR_AWARDS: {
        "rows_read": "Rows of the source.",
        "rows_rejected": "Of those, rows that cannot be used (`rejects.csv`).",
        "cells_repaired": "Values that were lost or changed while their row went on.",
        "bytes_repaired": "Bytes that were no text in the file's encoding.",
    },
    Step.AWARD_COMPANIES: {
        "index_bytes": "Files of the index that every worker opens.",
        "names_kept_apart": "Names in a state that companies of different UEIs share.",
    },
    Step.RECIPIENT_CHUNKS: {
        "source_rows": "Rows of the source.",
        "rows_rejected": "Of those, rows that cannot be used.",
        "chunks": "Chunks that were cut.",
        "chunk_size_rows": "`chunk_size`.",
        "chunk_bytes": "Files of all chunks.",
    },
    Step.CHUNK_MATCHES: {
        "chunks": "Chunks of the result.",
        "chunks_computed": "Of those, chunks matched by this run.",
        "chunks_resumed": "Of those, chunks whose checkpoint was there before.",
        "chunks_doubled": "Chunks that an idle worker computed a second time, as the first took long.",
        "chunks_in_parts": "Chunks matched in parts, as they took a worker's memory.",
        "chunks_degraded": "Chunks whose worker took smaller batches near its memory limit.",
        "degradations": "How often batches were halved.",
        "batch_rows": "Rows of a batch.",
        "batch_rows_least": "Rows of the smallest one.",
        "candidates": "Candidate pairs found.",
        "checkpoints_damaged": "Checkpoints that were found, and not valid.",
        "failed_attempts": "Attempts at chunks that failed.",
        "failed_attempts_<kind>": "Of those, the ones of a kind ([failure handbook](../how-to/handle-failures.md)).",
        "rows_quarantined": "Recipients set aside, as matching them raises an error.",
        "farm_seconds": "Wall time in which chunks were out.",
        "farm_records_per_second": "Recipients matched per second of these.",
        "workers": "Workers that finished a chunk.",
        "worker_restarts": "How often workers were started again.",
        "worker_peak_memory_mb": "Most resident memory of any worker during a chunk.",
        "worker_projected_peak_memory_mb": "What was projected for that before.",
        "worker_memory_threshold_mb": "`memory_threshold_mb`.",
    },
    Step.ENRICHED_AWARDS: {
        "match_rate": "Awards with an accepted match over valid awards.",
        "match_rate_by_company": "Companies with an accepted match over companies.",
        "match_rate_threshold": "The setting.",
        "estimated_precision": "Accepted matches that are right by their own probabilities.",
        "estimated_recall": "Right matches over companies expected to have a partner.",
        "min_estimated_precision": "The setting.",
        "verdict_passed": "1 if the result may be published, else 0.",
        "awards_matched": "Awards with an accepted match.",
        "awards_matched_by_<method>": "Of those, the ones that rest on a method.",
        "awards_review": "Awards whose candidate waits for a person.",
        "awards_unmatched": "Awards without either.",
        "companies_matched": "The same of companies.",
        "companies_review": "",
        "companies_unmatched": "",
    },
    Step.PUBLISHED_AWARDS: {
        "match_rate": "Of what is published.",
        "published_bytes": "Files of the publication.",
    },
    "published_awards, of the run as a whole (in Dagster alone)": {
        "run_seconds": "Wall time of all steps.",
        "run_peak_memory_mb": "Most resident memory of the driver.",
        "run_steps": "Steps that the run had.",
    },
}


def main() -> None:
    """Write all of them."""
    for name, text in documents().items():
        REFERENCE.mkdir(exist_ok=True)
        (REFERENCE / name).write_text(text, "utf-8")


def documents() -> dict[str, str]:
    """The text of each document, by its file name."""
    return {
        "cli.md": command_line(),
        "exit-codes.md": exit_codes(),
        "tables.md": tables(),
        "metrics.md": metrics(),
        "events.md": run_events(),
    }


def command_line() -> str:
    """Every command with its arguments and options."""
    command = typer.main.get_command(app)
    context = cast(typer.Context, command.make_context("enrich-dist", [], resilient_parsing=True))
    text = html.unescape(get_docs_for_click(obj=command, ctx=context, name="enrich-dist", title="Command line"))
    # Placeholders in angle brackets outside of code would be taken for HTML.
    assert not re.search(r"^[^`]*<\w", text, flags=re.MULTILINE), "a placeholder outside of code"
    intro = (
        "`--debug`, anywhere, adds the traceback to an error. [Exit codes](exit-codes.md); what may be set with "
        "`--set`: `config/base.yaml`.\n\n"
    )
    title, rest = text.split("\n", 1)
    return f"{title}\n\n{_MADE_BY}{intro}{rest.strip()}\n"


def exit_codes() -> str:
    """What the command line ends with, and which error leads there."""
    told = _comments(errors)
    codes = {
        value: (name.removeprefix("EXIT_").lower().replace("_", " "), told[name])
        for name, value in vars(errors).items()
        if name.startswith("EXIT_")
    }
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.EnrichError)]
    lines = [
        "# Exit codes and errors\n",
        _MADE_BY,
        *_table(("code", "name", "meaning"), [(str(code), *codes[code]) for code in sorted(codes)]),
        "\nEvery error is one line on standard error that names what is wrong, where, and what to do. What is not "
        "listed here is unexpected, ends with 1, and is told in full with `--debug`.\n",
        *_table(
            ("error", "ends with", "when"),
            [
                (f"`{kind.__name__}`", str(kind.exit_code), _first_paragraph(kind))
                for kind in sorted(kinds, key=lambda kind: (kind.exit_code, kind.__name__))
                if kind is not errors.EnrichError
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


def tables() -> str:
    """Columns of every table, with type and meaning."""
    told = _comments(schema)
    lines = [
        "# Tables\n",
        _MADE_BY + "Columns of the files of a run and of what it publishes, from `enrich_dist/schema.py`. Text "
        'columns hold cleaned text, and null, never `""`. `source_row` is the number under which a person finds the '
        "row: in CSV as a spreadsheet counts it (the header is row 1), in Parquet from 1.\n",
    ]
    for name, where in TABLES.items():
        table: pa.Schema = getattr(schema, name)
        columns = []
        for field in table:
            meaning = next((told[key] for key in _places(name, field.name) if key in told), "")
            columns.append((f"`{field.name}`", f"{field.type}" + ("" if field.nullable else ", never null"), meaning))
        lines += [
            f"## {name}\n",
            f"{where[0].upper()}{where[1:]}.\n",
            told[name].replace("``", "`") + "\n",
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
    rows = [(f"`{kind}`", told[f"COUNT_KINDS.{kind}"]) for kind in schema.COUNT_KINDS]
    lines += ["### kind of a count\n", *_table(("kind", "counts"), rows)]
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """Metrics for Prometheus, and the figures that Dagster plots."""

    def listed(chosen: Sequence[Metric]) -> list[str]:
        return _table(
            ("metric", "labels", "what"),
            [(f"`{metric.full_name}`", ", ".join(metric.labels), metric.text) for metric in chosen],
        )

    lines = [
        "# Metrics\n",
        _MADE_BY + "How to turn on those for Prometheus, alerts and dashboard: [monitoring](../how-to/monitor.md).\n",
        "## Metrics of a run at work\n",
        "At the endpoint alone, beside `process_*` of the driver.\n",
        *listed([metric for metric in METRICS if metric.live]),
        "\n## Metrics that are left\n",
        "At the endpoint, too. Those of steps, farm and result are of the latest time that the step ran in the work "
        "directory: a run that fails leaves the verdict on the result before as it was. `outcome` is `published`, "
        "`blocked` (by the quality gate), `failed`, or `unpublished` (all that ran ended well, but it was a part of "
        "the job, or a check of Dagster's held it back).\n",
        *listed([metric for metric in METRICS if not metric.live]),
        "\n## Figures of the steps\n",
        "Metadata of each materialization in Dagster, under names that stay, so that its UI plots them over the runs; "
        "the same in `steps/<step>.json` of the work directory. 1 MB is 1,000,000 bytes.\n",
    ]
    for step, figures in FIGURES.items():
        lines += [
            f"### {step}\n",
            *_table(("figure", "what"), [(f"`{key}`", what) for key, what in figures.items()]),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def run_events() -> str:
    """What a run tells its listeners."""
    tree = ast.parse(inspect.getsource(events))
    fields = {node.name: _documented_fields(node) for node in tree.body if isinstance(node, ast.ClassDef)}
    lines = [
        "# Run events\n",
        _MADE_BY + "What a run tells its listeners: the terminal, Dagster's log, the files under `steps/`, Prometheus. "
        "A listener is a function of one event, called by `enrich_dist.events.listening`; one that fails is "
        "dropped, and the run goes on.\n",
    ]
    for name, documented in fields.items():
        rows = [(f"`{field}`", f"`{type_}`", text) for field, type_, text in documented]
        lines += [
            f"## {name}\n",
            _first_paragraph(getattr(events, name)) + "\n",
            *_table(("field", "type", "what"), rows),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _documented_fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Name, type and the text below it of each field of a dataclass."""
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = " ".join(str(after.value.value).split())
            yield field.target.id, ast.unparse(field.annotation), text


def _comments(module: ModuleType) -> dict[str, str]:
    """Comments of a module's constants by name: what stands above or behind one; and of what a constant lists, by
    ``CONSTANT.text``, where text is the line's first string: what stands behind it."""
    source = inspect.getsource(module)
    lines = source.splitlines()
    behind: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            behind[token.start[0]] = token.string.removeprefix("#").strip()
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        above: list[str] = []
        line = node.lineno - 1
        while line in behind and lines[line - 1].startswith("#"):
            above.insert(0, behind[line])
            line -= 1
        if above or node.lineno in behind:
            found[name] = " ".join(above) or behind[node.lineno]
        for line in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1):
            if line in behind and (text := re.search(r'"(\w+)"', lines[line - 1])):
                found[f"{name}.{text[1]}"] = behind[line]
    return found


def _places(table: str, column: str) -> Iterator[str]:
    """Where the meaning of a column may be told: in its table, else in the one that the table takes it from."""
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
