"""Runs on the terminal and as JSON: the list of runs, one run, and the difference of two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from enrich_dist.core.console import PlainConsole
from enrich_dist.core.tables import make_table, megabytes, parse_markdown, percent
from enrich_dist.events import Step
from enrich_dist.reporting.run_tables import failure_counts, metric_rows, run_metrics, settings_table, steps_table
from enrich_dist.reporting.terminal import rich_table, shown_path
from enrich_dist.runs.award_changes import CHANGES, KINDS, AwardChanges
from enrich_dist.runs.ended_runs import EndedRun
from enrich_dist.runs.journal import InputChange, RunDifference
from enrich_dist.runs.records import CODEC, RunRecord
from enrich_dist.runs.retention import Space
from enrich_dist.store.run_directory import Number

_STYLES = {"published": "green", "blocked": "red", "gained": "green", "lost": "red", "changed": "yellow"}
_CHANGE_TITLES = {
    "gained": "gained a match",
    "lost": "lost their match",
    "changed": "changed to another recipient",
    "kept": "kept their match",
    "open": "have no accepted match in either run",
    "only in the older": "only in the older result",
    "only in the newer": "only in the newer result",
}
_DIGEST = 12  # characters of a digest that are shown


def runs_table(runs: Sequence[RunRecord], current: str | None) -> Table:
    """Return all runs, the newest first; ``current``: name of the published directory."""
    rows = [
        (
            _time(run),
            run.short_id,
            run.status,
            percent(run.numbers[Number.MATCH_RATE]),
            f"{run.numbers['awards_matched']:,.0f}",
            f"{run.numbers['run_seconds']:,.1f}",
            run.reused,
            "now" if run.release == current else "earlier" if run.status == "published" else "",
        )
        for run in reversed(runs)
    ]
    head = ("time (UTC)", "run", "verdict", "match\nrate", "matched", "seconds", "reused", "published")
    return rich_table(make_table(head, rows), _STYLES)


def ended_table(runs: Sequence[EndedRun]) -> Table:
    """Return the runs without a result, the newest first: failed, interrupted and killed ones."""
    rows = [
        (
            f"{datetime.fromtimestamp(run.ended_seconds, UTC):%Y-%m-%d %H:%M:%S}",
            run.run_id[:8],
            run.ending,
            f"{run.totals.seconds:,.1f}",
            f"{run.totals.memory_sum_bytes / 1e6:,.0f}",
            f"{run.where}: {run.reason}" if run.where else run.reason,
        )
        for run in reversed(runs)
    ]
    return rich_table(make_table(("time (UTC)", "run", "ended", "seconds", "MB", "step and reason"), rows), _STYLES)


def runs_document(runs: Sequence[RunRecord], current: str | None) -> list[dict[str, Any]]:
    """Return all runs as JSON, the newest first."""
    return [run_document(run, current) for run in reversed(runs)]


def run_document(run: RunRecord, current: str | None) -> dict[str, Any]:
    """Return a run as a JSON object."""
    return {
        **CODEC.to_document(run),
        "code": run.code.label,
        "finished": datetime.fromtimestamp(run.finished_seconds, UTC).isoformat(timespec="seconds"),
        "numbers": run.numbers,
        "matched_by_method": run.matched_by_method,
        "reused": run.reused,
        "changed_settings": [asdict(item) for item in run.changed_settings],
        "is_published_now": run.release == current,
    }


def space_table(found: Sequence[Space]) -> Table:
    """Return the disk space by directory, and what only older runs need."""
    rows = [
        (
            space.name,
            f"{space.items:,}",
            megabytes(space.bytes),
            f"{len(space.removable):,}",
            megabytes(space.removable_bytes),
        )
        for space in found
    ]
    total = (
        "all",
        "",
        megabytes(sum(space.bytes for space in found)),
        f"{sum(len(space.removable) for space in found):,}",
        megabytes(sum(space.removable_bytes for space in found)),
    )
    head = ("directory", "entries", "size", "of older runs", "their size")
    return rich_table(make_table(head, [*rows, total]))


def space_document(found: Sequence[Space]) -> list[dict[str, Any]]:
    """Return the disk space by directory as JSON."""
    return [asdict(space) | {"removable": [str(path) for path in space.removable]} for space in found]


def print_run(console: PlainConsole, run: RunRecord, current: str | None) -> None:
    """Print all that is recorded of a run."""
    console.print(f"Run {run.run_id}, judged {_time(run)} UTC, code {run.code.label}")
    is_current = " (the current publication)" if run.release == current else ""
    console.print(f"{run.status}{is_current}, results/{run.result}")
    if run.reused:
        console.print(f"Reused: {run.reused}")
    inputs = [
        (name, shown_path(Path(item.path)), item.rows, item.valid_rows, item.blake3[:_DIGEST] or "not recorded")
        for name, item in (("awards", run.awards), ("recipients", run.recipients))
    ]
    console.print("", rich_table(make_table(("input", "file", "rows", "valid rows", "BLAKE3"), inputs)), "")
    if not run.settings:
        console.print("The run did not record its settings.", "", sep="\n")
    elif run.changed_settings:
        console.print(rich_table(settings_table(run.changed_settings)), "")
    else:
        console.print("All settings have their default values.", "", sep="\n")
    console.print(rich_table(make_table(("metric", "value"), metric_rows(run))), "")
    console.print(rich_table(steps_table(run.steps, run.run_id)), "")
    if run.memory_table:
        console.print("Memory per worker", rich_table(parse_markdown(run.memory_table)), "")
    console.print(f"Failures: {_failures(run)}")


def print_difference(console: PlainConsole, found: RunDifference) -> None:
    """Print what changed from one run to the other."""
    before, now = found.before, found.now
    console.print(
        f"From run {before.short_id} ({_time(before)}), {before.status}, "
        f"to run {now.short_id} ({_time(now)}), {now.status}"
    )
    console.print(f"Code: {_from_to(before.code.label, now.code.label)}")
    for item in found.inputs:
        console.print(_input_line(item))
    if found.settings:
        settings = [(item.key, item.before, item.now, item.now_origin or item.before_origin) for item in found.settings]
        console.print("", rich_table(make_table(("setting", before.short_id, now.short_id, "origin"), settings)))
    elif before.settings and now.settings:
        console.print("Settings: the same")
    else:
        console.print("Settings: not recorded by both runs")
    metrics = [(title, old, new, change) for title, new, old, change in metric_rows(now, before)]
    table = make_table(("metric", before.short_id, now.short_id, "change"), metrics)
    console.print("", rich_table(table), "")
    if isinstance(found.awards, str):
        console.print(found.awards)
    else:
        _print_awards(console, found.awards)


def difference_document(found: RunDifference) -> dict[str, Any]:
    """Return the difference as a JSON object."""
    old, new = found.before.numbers, found.now.numbers
    return {
        **{
            side: {"run_id": run.run_id, "status": run.status, "code": run.code.label}
            for side, run in (("before", found.before), ("now", found.now))
        },
        "inputs": {
            item.name: {"before": vars(item.before), "now": vars(item.now), "same_bytes": item.same_bytes}
            for item in found.inputs
        },
        "settings": [vars(item) for item in found.settings],
        "figures": {
            metric.name: {"before": old.get(metric.name), "now": new.get(metric.name)}
            for metric in run_metrics(found.before, found.now)
            if metric.name in old or metric.name in new
        },
        "matched_by_method": {"before": found.before.matched_by_method, "now": found.now.matched_by_method},
        "awards": None if isinstance(found.awards, str) else _awards_document(found.awards),
        "awards_cannot_be_compared": found.awards if isinstance(found.awards, str) else None,
    }


def _awards_document(found: AwardChanges) -> dict[str, Any]:
    return {
        "in_both": found.common,
        "counts": found.counts,
        "by_method": [{"change": kind, "method": method, "awards": n} for (kind, method), n in found.by_method.items()],
        "moves": [{"before": before, "now": now, "awards": n} for (before, now), n in found.moves.items()],
        "found_by": found.found_by,
        "examples": list(found.examples),
    }


def _print_awards(console: PlainConsole, found: AwardChanges) -> None:
    other = found.common - found.found_by.get("award_id", 0)
    note = f", {other:,} of them identified by contract, tracking number or title" if other else ""
    console.print(f"{found.common:,} awards are in both results{note}.")
    counts = [
        (
            _CHANGE_TITLES[kind],
            found.counts[kind],
            ", ".join(f"{method} {count:,}" for (of_kind, method), count in found.by_method.items() if of_kind == kind),
        )
        for kind in KINDS
    ]
    styles = {_CHANGE_TITLES[kind]: style for kind, style in _STYLES.items() if kind in _CHANGE_TITLES}
    console.print(rich_table(make_table(("awards", "count", "by method"), counts), styles))
    moved = [(pair, count) for pair, count in found.moves.items() if pair[0] != pair[1]]
    if moved:
        console.print("Status: " + ", ".join(f"{old} → {new} {count:,}" for (old, new), count in moved))
    if not found.examples:
        return
    examples = [
        (row["change"], row["company"] or "", row["awards"], _match(row, "old"), _match(row, "new"))
        for row in found.examples
    ]
    table = make_table(("change", "company", "awards", "before", "now"), examples)
    console.print("", rich_table(table, _STYLES))
    shown, total = sum(row["awards"] for row in found.examples), sum(found.counts[kind] for kind in CHANGES)
    if shown < total:
        console.print(f"{shown:,} of {total:,} changes are shown. To write all of them: --awards changes.csv")


def _match(row: dict[str, Any], side: str) -> str:
    status, probability = row[f"{side}_status"], row[f"{side}_probability"]
    recipient = row[f"{side}_recipient_name"] or row[f"{side}_recipient_id"] or status
    shown = None if probability is None else f"{probability:.3f}"
    return ", ".join(part for part in (recipient, row[f"{side}_method"], shown) if part)


def _input_line(item: InputChange) -> str:
    name = item.name.capitalize()
    rows = f"rows {_from_to(f'{item.before.rows:,}', f'{item.now.rows:,}')}"
    if item.same_bytes:
        moved = f" ({_from_to(item.before.path, item.now.path)})" if item.before.path != item.now.path else ""
        return f"{name}: the same file{moved}, {rows}"
    files = _from_to(shown_path(Path(item.before.path)), shown_path(Path(item.now.path)))
    what = "no digest recorded to compare" if item.same_bytes is None else "other content"
    return f"{name}: {what}, {files}, {rows}"


def _from_to(before: str, now: str) -> str:
    return before if before == now else f"{before} → {now}"


def _failures(run: RunRecord) -> str:
    matching = run.own_steps.get(Step.CHUNK_MATCHES)
    if matching is None:
        return "this run did not match chunks"
    counts = failure_counts(matching.numbers)
    kinds = [
        f"{name.removeprefix('failed_attempts_').replace('_', ' ')} {int(count):,}"
        for name, count in matching.numbers.items()
        if name.startswith("failed_attempts_") and count
    ]
    return ", ".join(counts or ["none"]) + (f" (attempts by kind: {', '.join(kinds)})" if kinds else "")


def _time(run: RunRecord) -> str:
    return f"{datetime.fromtimestamp(run.finished_seconds, UTC):%Y-%m-%d %H:%M:%S}"
