"""Sections on how a run went: comparison, plan, steps, chunks, workers, failures and settings."""

from __future__ import annotations

from enrich_dist.core.tables import Table, make_table, megabytes, percent
from enrich_dist.events import AttemptTimes, Step
from enrich_dist.farm.worker_memory import memory_table
from enrich_dist.reporting.html import charts
from enrich_dist.reporting.html.charts import Bar, Chart, Share
from enrich_dist.reporting.html.report_data import ReportData
from enrich_dist.reporting.html.section import MAX_ROWS, MAX_WORKERS, Section, limited_table, make_section
from enrich_dist.reporting.plan_vs_actual import HEAD, comparison_rows
from enrich_dist.reporting.run_tables import failure_counts, metric_rows, performance_table, settings_table, steps_table
from enrich_dist.reporting.terminal import STEP_TITLES
from enrich_dist.store.run_directory import STEPS, Number

_MAX_BARS = 5_000
_MAX_RUNS = 30


def comparison(data: ReportData) -> Section:
    """Return the run compared with the previous one, and with one that the user chose."""
    title = "Compared with earlier runs"
    others = [] if data.previous is None else [("previous run", data.previous)]
    if data.against is not None:
        others.append((f"run {data.against.short_id}", data.against))
    if not others:
        return make_section("comparison", title, "This work directory has no earlier judged run.")
    verdicts = [("this run", data.run), *others]
    text = (
        f"Verdicts: {', '.join(f'{name} {run.status}' for name, run in verdicts)}.",
        "To see which awards gained, lost or changed their match, run: enrich-dist runs diff",
    )
    head = ("metric", "this run", *(cell for name, _ in others for cell in (name, "change")))
    table = make_table(head, metric_rows(data.run, *(run for _, run in others)), "This run and earlier ones")
    return make_section("comparison", title, *text, charts=_trend(data), tables=[table])


def _trend(data: ReportData) -> tuple[tuple[Chart, Table], ...]:
    runs = [*data.earlier_runs[-_MAX_RUNS + 1 :], data.run]
    if len(runs) < 3:  # the comparison table shows two runs
        return ()
    names = ("match_rate", "estimated_precision", "estimated_recall")
    titles = [name.replace("_", " ") for name in names]
    labels = [f"run {number}" for number in range(1, len(runs))] + ["this run"]
    chart = charts.lines(
        "trend",
        "Rates of recent runs",
        f"The {len(runs)} latest runs of this work directory; the last match rate is "
        f"{percent(data.metrics['match_rate'])}.",
        [(title, labels, [run.numbers.get(name) for run in runs]) for name, title in zip(names, titles, strict=True)],
        share=True,
    )
    rows = []
    for label, run in zip(labels, runs, strict=True):
        rates = ("" if (rate := run.numbers.get(name)) is None else percent(rate) for name in names)
        rows.append((label, run.status, *rates, f"{run.numbers['run_seconds']:,.1f}"))
    return ((chart, make_table(("run", "verdict", *titles, "run time (s)"), rows, "Rates of recent runs")),)


def plan(data: ReportData) -> Section:
    """Return predicted and actual time, memory and disk."""
    title = "Plan vs actual"
    if data.plan_comparison is None:
        return make_section("plan", title, "This run has no plan. To plan a run: enrich-dist plan")
    table = make_table(("metric", *HEAD[1:]), comparison_rows(data.plan_comparison), "Seconds; memory and disk in MB")
    return make_section("plan", title, data.plan_comparison.note, tables=[table])


def steps(data: ReportData) -> Section:
    """Return the steps with their times."""
    done = [data.steps[step] for step in STEPS if step in data.steps]
    longest = max(done, key=lambda step: step.seconds)
    chart = charts.shares(
        "steps",
        "Time of each step",
        f"The longest step is {STEP_TITLES[longest.step].lower()} with {longest.seconds:,.1f} s.",
        [Share(STEP_TITLES[step.step], step.seconds, f"{step.seconds:,.1f} s") for step in done],
    )
    return make_section("steps", "Steps", charts=[(chart, steps_table(data.steps, data.run.run_id))])


def performance(data: ReportData) -> Section:
    """Return the limits of time and memory, and the comparison with earlier runs."""
    title = "Limits of time and memory"
    if not data.performance:
        return make_section("performance", title, "No limit is set, and there is no comparable earlier run.")
    flagged = [item for item in data.performance if item.severity in ("warn", "error")]
    text = f"{len(flagged)} of {len(data.performance)} are exceeded." if flagged else "None is exceeded."
    return make_section("performance", title, text, tables=[performance_table(data.performance)])


def timeline(data: ReportData) -> Section:
    """Return attempts over time, by worker."""
    title = "Chunks over time"
    numbers = data.steps[Step.CHUNK_MATCHES].numbers if Step.CHUNK_MATCHES in data.steps else {}
    text = []
    if numbers.get(Number.CHUNKS_RESUMED):
        text.append(
            f"{numbers[Number.CHUNKS_RESUMED]:,} of {numbers[Number.CHUNKS]:,} chunks had a valid checkpoint and were "
            "not computed again."
        )
    if not data.attempts:
        return make_section("timeline", title, *text, "This run has no log of its chunks.")
    if not numbers.get(Number.CHUNKS_COMPUTED):
        text.append("This run computed no chunk; the chart shows the latest run that did.")
    attempts = sorted(data.attempts, key=lambda attempt: (attempt.chunk_id, attempt.attempt))
    started = [attempt for attempt in attempts if attempt.started_seconds is not None]
    drawn = sorted(started, key=lambda a: _started(a) - a.finished_seconds)[:_MAX_BARS]
    if len(drawn) < len(started):
        text.append(f"The chart shows the longest {len(drawn):,} of {len(started):,} attempts.")
    chart = charts.timeline(
        "timeline",
        "Attempts by worker",
        f"{len(data.attempts):,} attempts by {len({a.worker for a in data.attempts}):,} workers; the last one ended "
        f"after {data.attempts[-1].received_seconds:,.1f} s.",
        finished=[_bar(attempt) for attempt in drawn if attempt.outcome == "finished"],
        failed=[_bar(attempt) for attempt in drawn if attempt.outcome != "finished"],
    )
    rows = []
    for a in attempts[:MAX_ROWS]:
        times = (a.submitted_seconds, a.started_seconds, a.finished_seconds, a.received_seconds)
        shown = ("" if seconds is None else f"{seconds:.2f}" for seconds in times)
        rows.append((str(a.chunk_id), str(a.attempt), a.worker or "none", a.outcome, *shown))
    head = ("chunk", "attempt", "worker", "outcome", "submitted", "started", "finished", "received")
    table = limited_table(head, rows, "Attempts, in seconds since matching began", total=len(data.attempts))
    return make_section("timeline", title, *text, charts=[(chart, table)])


def _started(attempt: AttemptTimes) -> float:
    return attempt.finished_seconds if attempt.started_seconds is None else attempt.started_seconds


def _bar(attempt: AttemptTimes) -> Bar:
    started = _started(attempt)
    text = (
        f"chunk {attempt.chunk_id}, attempt {attempt.attempt}: {attempt.outcome}, "
        f"{started:.1f} to {attempt.finished_seconds:.1f} s"
    )
    return Bar(f"worker {attempt.worker or 'unknown'}", started, attempt.finished_seconds, text)


def memory(data: ReportData) -> Section:
    """Return peak memory per worker, projected and measured, and its limit."""
    title = "Memory per worker"
    if not data.workers:
        return make_section("memory", title, "No chunk is finished, so no memory was measured.")
    highest = sorted(data.workers, key=lambda worker: worker.peak_memory_bytes, reverse=True)[:MAX_WORKERS]
    several_hosts = len({worker.host for worker in data.workers}) > 1
    bars = []
    for w in highest:
        label = f"worker {w.worker}" + (f" on {w.host}" if several_hosts else "")
        limit = w.memory_limit_bytes / 1e6 if w.memory_limit_bytes else None
        bars.append((label, w.projected_peak_memory_bytes / 1e6, w.peak_memory_bytes / 1e6, limit))
    summary = "; ".join(
        f"{label}: projected {expected:,.0f}, measured {peak:,.0f} MB" for label, expected, peak, _ in bars[:6]
    )
    chart = charts.memory("memory", "Projected and measured peak, and limit", summary, bars)
    shown = [(chart, memory_table(data.workers))]
    text = ["All chunks of the result are included, also those that earlier runs computed."]
    if len(highest) < len(data.workers):
        text.append(f"The chart shows the {len(highest)} worker processes with the highest peaks.")
    if len(data.worker_histories) > 1 or any(len(history.samples) > 1 for history in data.worker_histories):
        shown.append(_memory_over_time(data))
    return make_section("memory", title, *text, charts=shown)


def _memory_over_time(data: ReportData) -> tuple[Chart, Table]:
    histories = data.worker_histories
    highest = sorted(histories, key=lambda history: history.peak_memory_bytes, reverse=True)[:MAX_WORKERS]
    limits = {history.memory_limit_bytes for history in highest if history.memory_limit_bytes}
    chart = charts.lines(
        "memory-over-time",
        "Memory over time, as sampled by Dask",
        "; ".join(f"worker {h.worker}: at most {megabytes(h.peak_memory_bytes)} MB" for h in highest[:6]),
        [
            (f"worker {h.worker}", [at for at, _ in h.samples], [round(used / 1e6, 1) for _, used in h.samples])
            for h in highest
        ],
        x_title="seconds since matching began",
        y_title="MB",
        limit=min(limits) / 1e6 if limits else None,
    )
    rows = [(f"worker {h.worker}", len(h.samples), megabytes(h.peak_memory_bytes), h.restarts) for h in histories]
    return chart, make_table(("worker", "samples", "highest MB", "restarts"), rows, "Memory samples per worker")


def failures(data: ReportData) -> Section:
    """Return failed attempts, batch size reductions and quarantined recipients."""
    numbers = data.steps[Step.CHUNK_MATCHES].numbers if Step.CHUNK_MATCHES in data.steps else {}
    records = sorted(data.records.items())
    tables = (
        limited_table(
            ("chunk", "attempt", "kind", "worker", "what happened", "what followed"),
            [
                (str(f.chunk_id), str(f.attempt), f.kind, f.marker.worker if f.marker else "", f.message, f.next_step)
                for f in data.failures
            ],
            "Failed attempts",
        ),
        limited_table(
            ("chunk", "worker", "batch size", "reduced to", "peak MB"),
            [
                (str(chunk), r.worker, r.batch_rows, r.batch_rows_least, megabytes(r.peak_memory_bytes))
                for chunk, r in records
                if r.degradations
            ],
            "Chunks with smaller batches, as their worker came near its memory limit",
        ),
        limited_table(
            ("row", "reason"),
            [(str(row["source_row"]), row["reason"]) for _, record in records for row in record.quarantined],
            "Quarantined recipients",
        ),
    )
    counts = ", ".join(failure_counts(numbers))
    text = f"{counts[0].upper()}{counts[1:]}." if counts else ""
    if not any(table.rows for table in tables):
        text = text or "No attempt failed, no worker came near its memory limit, and no recipient was quarantined."
    return make_section("failures", "Failures and degradations", text, tables=tables)


def settings(data: ReportData) -> Section:
    """Return the settings with their origins."""
    if not data.settings:
        return make_section("settings", "Settings", "The run did not record its settings.")
    overridden = [setting for setting in data.settings if setting.is_override]
    return make_section(
        "settings",
        "Settings",
        f"{len(overridden):,} of {len(data.settings):,} settings were overridden by a file, the environment or the "
        "command line.",
        tables=[settings_table(overridden, "Overridden settings")],
        folded=[settings_table(data.settings, "All settings")],
    )
