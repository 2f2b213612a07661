"""Runs for the eye and for other programs: the list, one run, two runs side by side; tables and JSON documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from enrich_dist.core.markdown import percent
from enrich_dist.events import Step
from enrich_dist.reporting.run_figures import FIGURES, change, text
from enrich_dist.reporting.summary import shown_path, table_from_markdown
from enrich_dist.reporting.terminal import TITLES
from enrich_dist.runs.award_changes import CHANGES, KINDS, AwardChanges
from enrich_dist.runs.diff import InputChange, RunDifference
from enrich_dist.runs.entry import RunEntry, to_document
from enrich_dist.settings import UsedSetting
from enrich_dist.store.run_directory import STEPS, Number

_STYLES = {"published": "green", "passed": "", "blocked": "red", "gained": "green", "lost": "red", "changed": "yellow"}
_FAILURES = (
    ("failed_attempts", "failed attempts"),
    ("worker_restarts", "worker restarts"),
    ("checkpoints_damaged", "damaged checkpoints, computed again"),
    ("chunks_doubled", "chunks given to a second worker"),
    ("chunks_in_parts", "chunks matched in parts"),
    ("degradations", "batches made smaller"),
    ("rows_quarantined", "recipients set aside"),
)
_DIGEST = 12  # characters of a digest that are shown


def runs_table(runs: Sequence[RunEntry], current: str | None) -> Table:
    """All runs, the newest first; ``current``: name of the published directory."""
    table = _table("when (UTC)", "run", "verdict", ("match rate", "awards matched", "seconds"), "reused", "published")
    for run in reversed(runs):
        numbers = run.numbers
        table.add_row(
            _time(run),
            run.short_id,
            Text(run.status, style=_STYLES.get(run.status, "")),
            percent(numbers[Number.MATCH_RATE]),
            f"{numbers['awards_matched']:,.0f}",
            f"{numbers['run_seconds']:,.1f}",
            run.reused,
            _published(run, current),
        )
    return table


def runs_document(runs: Sequence[RunEntry], current: str | None) -> list[dict[str, Any]]:
    """The same as JSON, with all that is kept of each run."""
    return [run_document(run, current) for run in reversed(runs)]


def run_document(run: RunEntry, current: str | None) -> dict[str, Any]:
    """A run as a JSON object."""
    return {
        **to_document(run),
        "finished": datetime.fromtimestamp(run.finished_seconds, UTC).isoformat(timespec="seconds"),
        "numbers": run.numbers,
        "matched_by_method": run.matched_by_method,
        "reused": run.reused,
        "changed_settings": [asdict(item) for item in run.changed_settings],
        "is_published_now": run.release == current,
    }


def print_run(console: Console, run: RunEntry, current: str | None) -> None:
    """All that is kept of a run."""
    console.print(f"Run {run.run_id}, judged {_time(run)} UTC, code {run.code}")
    published = _published(run, current)
    console.print(f"{run.status}{f' ({published})' if published == 'now' else ''}, results/{run.result}")
    if run.reused:
        console.print(f"Reused: {run.reused}")
    inputs = _table("input", "file", ("rows", "valid rows"), "BLAKE3")
    for name, item in (("awards", run.awards), ("recipients", run.recipients)):
        path = shown_path(Path(item.path))
        inputs.add_row(name, path, f"{item.rows:,}", f"{item.valid_rows:,}", item.blake3[:_DIGEST] or "not kept")
    console.print("", inputs, "")
    given = run.changed_settings
    if not run.settings:
        console.print("The run did not record its settings.", "")
    elif given:
        console.print(_settings_table(given), "")
    else:
        console.print("All settings are at their default.", "")
    numbers = run.numbers
    figures = _table("figure", ("value",))
    for figure in FIGURES:
        if figure.name in numbers:
            figures.add_row(figure.title, text(figure, numbers[figure.name]))
    for method, count in run.matched_by_method.items():
        figures.add_row(f"awards matched by {method}", f"{count:,}")
    console.print(figures, "")
    steps = _table("step", ("rows", "seconds", "peak MB"), "")
    for name in STEPS:
        if name not in run.steps:
            continue
        step = run.steps[name]
        note = "of an earlier run" if step.run_id != run.run_id else "reused" if step.reused else ""
        row = (f"{step.rows:,}", f"{step.seconds:.1f}", f"{step.peak_memory_bytes / 1e6:.0f}")
        steps.add_row(TITLES[name], *row, note)
    console.print(steps, "")
    if run.memory_table:
        console.print("Memory per worker")
        console.print(table_from_markdown(run.memory_table), "")
    console.print(f"Failures: {_failures(run)}")


def print_difference(console: Console, found: RunDifference) -> None:
    """What changed from one run to the other."""
    before, now = found.before, found.now
    heads = (f"{before.short_id} ({_time(before)})", f"{now.short_id} ({_time(now)})")
    console.print(f"From run {heads[0]}, {before.status}, to run {heads[1]}, {now.status}")
    console.print(f"Code: {_from_to(before.code, now.code)}")
    for item in found.inputs:
        console.print(_input_line(item))
    if found.settings:
        settings = _table("setting", before.short_id, now.short_id, "origin")
        for setting in found.settings:
            settings.add_row(setting.key, setting.before, setting.now, setting.now_origin or setting.before_origin)
        console.print("", settings)
    elif before.settings and now.settings:
        console.print("Settings: the same")
    else:
        console.print("Settings: not recorded by both runs")
    old, new = before.numbers, now.numbers
    figures = _table("figure", (before.short_id, now.short_id, "change"))
    for figure in FIGURES:
        values = old.get(figure.name), new.get(figure.name)
        if values != (None, None):
            figures.add_row(
                figure.title, *(text(figure, value) for value in values), change(figure, values[1], values[0])
            )
    methods = list(dict.fromkeys([*before.matched_by_method, *now.matched_by_method]))
    for method in methods:
        counts = before.matched_by_method.get(method, 0), now.matched_by_method.get(method, 0)
        moved = f"{counts[1] - counts[0]:+,}" if counts[0] != counts[1] else "none"
        figures.add_row(f"matched by {method}", *(f"{count:,}" for count in counts), moved)
    console.print("", figures, "")
    if isinstance(found.awards, str):
        console.print(found.awards)
    else:
        _print_awards(console, found.awards)


def difference_document(found: RunDifference) -> dict[str, Any]:
    """The same as a JSON object."""
    old, new = found.before.numbers, found.now.numbers
    awards: dict[str, Any] | None = None
    if isinstance(found.awards, AwardChanges):
        awards = {
            "in_both": found.awards.common,
            "counts": found.awards.counts,
            "by_method": [
                {"change": kind, "method": method, "awards": count}
                for (kind, method), count in found.awards.by_method.items()
            ],
            "moves": [
                {"before": before, "now": now, "awards": count} for (before, now), count in found.awards.moves.items()
            ],
            "found_by": found.awards.found_by,
            "examples": list(found.awards.examples),
        }
    return {
        "before": {"run_id": found.before.run_id, "status": found.before.status, "code": found.before.code},
        "now": {"run_id": found.now.run_id, "status": found.now.status, "code": found.now.code},
        "inputs": {
            item.name: {"before": vars(item.before), "now": vars(item.now), "same_bytes": item.same_bytes}
            for item in found.inputs
        },
        "settings": [vars(item) for item in found.settings],
        "figures": {
            figure.name: {"before": old.get(figure.name), "now": new.get(figure.name)}
            for figure in FIGURES
            if figure.name in old or figure.name in new
        },
        "matched_by_method": {"before": found.before.matched_by_method, "now": found.now.matched_by_method},
        "awards": awards,
        "awards_cannot_be_compared": found.awards if isinstance(found.awards, str) else None,
    }


def _print_awards(console: Console, found: AwardChanges) -> None:
    again = found.common - found.found_by.get("award_id", 0)
    note = f", {again:,} of them found again by contract, tracking number or title" if again else ""
    console.print(f"{found.common:,} awards are in both results{note}.")
    counts = _table("awards", ("count",), "by method")
    for kind in KINDS:
        methods = ", ".join(
            f"{method} {count:,}" for (of_kind, method), count in found.by_method.items() if of_kind == kind
        )
        counts.add_row(Text(_TITLES[kind], style=_STYLES.get(kind, "")), f"{found.counts[kind]:,}", methods)
    console.print(counts)
    moved = [(pair, count) for pair, count in found.moves.items() if pair[0] != pair[1]]
    if moved:
        console.print("Status: " + ", ".join(f"{old} → {new} {count:,}" for (old, new), count in moved))
    if not found.examples:
        return
    examples = _table("", "company", ("awards",), "before", "now")
    for row in found.examples:
        kind = str(row["change"])
        cells = (row["company"] or "", f"{row['awards']:,}", _match(row, "old"), _match(row, "new"))
        examples.add_row(Text(kind, style=_STYLES[kind]), *cells)
    console.print("", examples)
    shown, of_all = sum(row["awards"] for row in found.examples), sum(found.counts[kind] for kind in CHANGES)
    if shown < of_all:
        console.print(f"{shown:,} of {of_all:,} changes are shown; every award: --awards changes.csv")


_TITLES = {
    "gained": "gained a match",
    "lost": "lost their match",
    "changed": "changed to another recipient",
    "kept": "kept their match",
    "open": "without an accepted match in both",
    "only in the older": "only in the older result",
    "only in the newer": "only in the newer result",
}


def _match(row: dict[str, Any], side: str) -> str:
    status, probability = row[f"{side}_status"], row[f"{side}_probability"]
    words = [row[f"{side}_recipient_name"] or row[f"{side}_recipient_id"] or status]
    if row[f"{side}_method"]:
        words.append(row[f"{side}_method"])
    if probability is not None:
        words.append(f"{probability:.3f}")
    return ", ".join(words)


def _settings_table(settings: Iterable[UsedSetting]) -> Table:
    table = _table("setting", "value", "origin")
    for setting in settings:
        table.add_row(setting.key, setting.value, setting.origin)
    return table


def _input_line(item: InputChange) -> str:
    name = item.name.capitalize()
    rows = f"rows {_from_to(f'{item.before.rows:,}', f'{item.now.rows:,}')}"
    if item.same_bytes:
        moved = f" ({_from_to(item.before.path, item.now.path)})" if item.before.path != item.now.path else ""
        return f"{name}: the same file{moved}, {rows}"
    files = _from_to(shown_path(Path(item.before.path)), shown_path(Path(item.now.path)))
    what = "whether it is the same was not kept" if item.same_bytes is None else "other content"
    return f"{name}: {what}, {files}, {rows}"


def _from_to(before: str, now: str) -> str:
    return before if before == now else f"{before} → {now}"


def _failures(run: RunEntry) -> str:
    farmed = run.own_steps.get(Step.CHUNK_MATCHES)
    if farmed is None:
        return "it had no farm of its own"
    told = [f"{title} {int(farmed.numbers[name]):,}" for name, title in _FAILURES if farmed.numbers.get(name)]
    kinds = [
        f"{name.removeprefix('failed_attempts_').replace('_', ' ')} {int(count):,}"
        for name, count in farmed.numbers.items()
        if name.startswith("failed_attempts_") and count
    ]
    return "none" if not told else ", ".join(told) + (f" (attempts by kind: {', '.join(kinds)})" if kinds else "")


def _published(run: RunEntry, current: str | None) -> str:
    if run.release == current:
        return "now"
    return "earlier" if run.status == "published" else ""


def _time(run: RunEntry) -> str:
    return f"{datetime.fromtimestamp(run.finished_seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _table(*columns: str | tuple[str, ...]) -> Table:
    """A table whose columns stand left; those in a tuple right."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        for title in column if isinstance(column, tuple) else (column,):
            left = isinstance(column, str)
            table.add_column(title, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    return table
