"""The sections on how a run went: its steps, chunks, workers, failures and settings.

Every number is one of the facts, formatted. A section that has nothing to show says so in a sentence. Does not cover
the result (``quality``).
"""

from __future__ import annotations

from enrich_dist.events import AttemptTimes, Step
from enrich_dist.reporting.html import charts
from enrich_dist.reporting.html.charts import Bar, Chart, Share
from enrich_dist.reporting.html.facts import RunFacts
from enrich_dist.reporting.html.parts import MAX_ROWS, MAX_WORKERS, Section, Table, captioned, megabytes, table
from enrich_dist.reporting.terminal import TITLES
from enrich_dist.store.run_directory import STEPS, Number

_MAX_BARS = 5_000


def steps(facts: RunFacts) -> Section:
    """The steps with their seconds."""
    shown = [facts.steps[step] for step in STEPS if step in facts.steps]
    longest = max(shown, key=lambda step: step.seconds)
    chart = charts.shares(
        "steps",
        "Seconds of each step",
        f"The longest is {TITLES[longest.step].lower()} with {longest.seconds:,.1f} seconds.",
        [Share(TITLES[s.step], s.seconds, f"{s.seconds:,.1f} s") for s in shown],
    )
    rows = [
        (
            TITLES[step.step],
            step.rows,
            f"{step.seconds:,.1f}",
            "" if step.reused else f"{step.rows_per_second:,.0f}",
            megabytes(step.peak_memory_bytes),
            "found valid" if step.reused else "of another run" if step.run_id != facts.summary.run_id else "made",
        )
        for step in shown
    ]
    head = ("step", "rows", "seconds", "rows/s", "peak MB of the driver", "output")
    return Section("steps", "Steps", charts=((chart, table("Steps of the run", head, rows)),))


def timeline(facts: RunFacts) -> Section:
    """Chunks over time, by worker."""
    title = "Chunks over time, by worker"
    numbers = facts.steps[Step.CHUNK_MATCHES].numbers if Step.CHUNK_MATCHES in facts.steps else {}
    text = []
    if numbers.get(Number.CHUNKS_RESUMED):
        text.append(
            f"{numbers['chunks_resumed']:,} of {numbers['chunks']:,} chunks were found finished and not computed again."
        )
    if not facts.attempts:
        return Section("timeline", title, (*text, "No timeline was kept of the chunks of this run."))
    if not numbers.get(Number.CHUNKS_COMPUTED):
        text.append("The timeline is that of the latest farm that computed any.")
    began = [attempt for attempt in facts.attempts if attempt.started_seconds is not None]
    longest = sorted(began, key=_busy_seconds, reverse=True)[:_MAX_BARS]
    if len(longest) < len(began):
        text.append(f"The longest {len(longest):,} of {len(began):,} attempts are drawn.")
    drawn = sorted(longest, key=lambda attempt: (attempt.chunk_id, attempt.attempt))
    chart = charts.timeline(
        "timeline",
        "When each worker was busy with a chunk",
        f"{len(facts.attempts):,} attempts by {len({a.worker for a in facts.attempts}):,} workers, the last of which "
        f"ended after {facts.attempts[-1].received_seconds:,.1f} seconds.",
        finished=[_bar(attempt) for attempt in drawn if attempt.outcome == "finished"],
        failed=[_bar(attempt) for attempt in drawn if attempt.outcome != "finished"],
    )
    ordered = sorted(facts.attempts, key=lambda attempt: (attempt.chunk_id, attempt.attempt))
    rows = [
        (
            str(a.chunk_id),
            str(a.attempt),
            a.worker or "none",
            a.outcome,
            f"{a.submitted_seconds:.2f}",
            "" if a.started_seconds is None else f"{a.started_seconds:.2f}",
            f"{a.finished_seconds:.2f}",
            f"{a.received_seconds:.2f}",
        )
        for a in ordered[:MAX_ROWS]
    ]
    head = ("chunk", "attempt", "worker", "outcome", "submitted", "started", "finished", "received")
    caption = captioned("When each attempt did what, in seconds since the farm began", rows, len(ordered))
    return Section("timeline", title, tuple(text), charts=((chart, table(caption, head, rows)),))


def _busy_seconds(attempt: AttemptTimes) -> float:
    return 0.0 if attempt.started_seconds is None else attempt.finished_seconds - attempt.started_seconds


def _bar(attempt: AttemptTimes) -> Bar:
    started = attempt.finished_seconds if attempt.started_seconds is None else attempt.started_seconds
    text = (
        f"chunk {attempt.chunk_id}, attempt {attempt.attempt}: {attempt.outcome}, "
        f"{started:.1f} to {attempt.finished_seconds:.1f} s"
    )
    return Bar(f"worker {attempt.worker or 'unknown'}", started, attempt.finished_seconds, text)


def memory(facts: RunFacts) -> Section:
    """Memory per worker, against projection and limit."""
    title = "Memory per worker"
    if not facts.workers:
        return Section("memory", title, ("No chunk is finished, so no memory was measured.",))
    several_hosts = len({worker.host for worker in facts.workers}) > 1
    rows = [
        (
            f"{worker.worker} on {worker.host}" if several_hosts else f"worker {worker.worker}",
            str(worker.pid),
            worker.chunks,
            worker.records,
            f"{worker.busy_seconds:.1f}",
            megabytes(worker.projected_peak_memory_bytes),
            megabytes(worker.peak_memory_bytes),
            megabytes(worker.memory_limit_bytes) if worker.memory_limit_bytes else "none",
        )
        for worker in facts.workers
    ]
    highest = sorted(zip(facts.workers, rows, strict=True), key=lambda item: item[0].peak_memory_bytes, reverse=True)[
        :MAX_WORKERS
    ]
    chart = charts.memory(
        "memory",
        "Projected and measured peak against the limit",
        "; ".join(f"{row[0]}: projected {row[5]}, measured {row[6]}, limit {row[7]} MB" for _, row in highest[:6]),
        [
            (
                str(row[0]),
                worker.projected_peak_memory_bytes / 1e6,
                worker.peak_memory_bytes / 1e6,
                worker.memory_limit_bytes / 1e6 if worker.memory_limit_bytes else None,
            )
            for worker, row in highest
        ],
    )
    head = ("worker", "process", "chunks", "records", "busy seconds", "projected MB", "peak MB", "limit MB")
    shown: list[tuple[Chart, Table | None]] = [(chart, table("Memory per worker process", head, rows))]
    text = ["Of all chunks in the result, also those that an earlier run computed."]
    if len(highest) < len(rows):
        text.append(f"The {len(highest)} worker processes with the highest peaks are drawn.")
    if len(facts.histories) > 1 or any(len(history.samples) > 1 for history in facts.histories):
        shown.append(_memory_over_time(facts))
    return Section("memory", title, tuple(text), charts=tuple(shown))


def _memory_over_time(facts: RunFacts) -> tuple[Chart, Table]:
    highest = sorted(facts.histories, key=lambda history: history.peak_memory_bytes, reverse=True)[:MAX_WORKERS]
    limits = {history.memory_limit_bytes for history in highest if history.memory_limit_bytes}
    chart = charts.lines(
        "memory-over-time",
        "Memory while the farm worked, as Dask sampled it",
        "; ".join(f"worker {h.worker}: at most {megabytes(h.peak_memory_bytes)} MB" for h in highest[:6]),
        [
            (
                f"worker {history.worker}",
                [seconds for seconds, _ in history.samples],
                [round(count_bytes / 1e6, 1) for _, count_bytes in history.samples],
            )
            for history in highest
        ],
        x_title="seconds since the farm began",
        y_title="MB",
        limit=min(limits) / 1e6 if limits else None,
    )
    rows = [(f"worker {h.worker}", len(h.samples), megabytes(h.peak_memory_bytes), h.restarts) for h in facts.histories]
    return chart, table("Samples per worker", ("worker", "samples", "highest MB", "restarts"), rows)


def trouble(facts: RunFacts) -> Section:
    """Degradations and failures."""
    numbers = facts.steps[Step.CHUNK_MATCHES].numbers if Step.CHUNK_MATCHES in facts.steps else {}
    degraded = [(chunk, record) for chunk, record in sorted(facts.records.items()) if record.degradations]
    set_aside = [row for _, record in sorted(facts.records.items()) for row in record.quarantined]
    tables: list[Table] = []
    text: list[str] = []
    if facts.failures:
        rows = [
            (str(f.chunk_id), str(f.attempt), str(f.kind), f.worker or "", f.message, f.next_step)
            for f in facts.failures[:MAX_ROWS]
        ]
        failed_head = ("chunk", "attempt", "kind", "worker", "what happened", "what followed")
        tables.append(table(captioned("Failed attempts", rows, len(facts.failures)), failed_head, rows, folded=False))
    elif numbers.get(Number.FAILED_ATTEMPTS):
        text.append(f"{numbers['failed_attempts']:,} attempts failed.")
    else:
        text.append("No attempt failed.")
    if degraded:
        smaller = [
            (str(chunk), r.worker, f"{r.batch_rows:,}", f"{r.batch_rows_least:,}", megabytes(r.peak_memory_bytes))
            for chunk, r in degraded[:MAX_ROWS]
        ]
        head = ("chunk", "worker", "rows at a time", "in the end", "peak MB")
        caption = captioned(
            "Chunks whose worker took fewer rows at a time, near its memory limit", smaller, len(degraded)
        )
        tables.append(table(caption, head, smaller, folded=False))
    else:
        text.append("No worker came near its memory limit.")
    if set_aside:
        aside = [(str(row["source_row"]), str(row["reason"])) for row in set_aside[:MAX_ROWS]]
        caption = captioned("Recipients that were set aside", aside, len(set_aside))
        tables.append(table(caption, ("row", "reason"), aside, folded=False))
    else:
        text.append("No recipient was set aside.")
    for name, what in (
        ("worker_restarts", "worker restarts"),
        ("chunks_doubled", "chunks given to a second worker"),
        ("chunks_in_parts", "chunks matched in parts"),
        ("checkpoints_damaged", "damaged checkpoints, computed again"),
    ):
        if numbers.get(name):
            text.append(f"{what[0].upper()}{what[1:]}: {numbers[name]:,}.")
    return Section("trouble", "Degradations and failures", (" ".join(text),), tables=tuple(tables))


def settings(facts: RunFacts) -> Section:
    """The settings with their origin."""
    if not facts.settings:
        return Section("settings", "Settings", ("The run did not record its settings.",))
    rows = [(setting.key, setting.value, setting.origin) for setting in facts.settings]
    overridden = [(setting.key, setting.value, setting.origin) for setting in facts.settings if setting.is_override]
    head = ("setting", "value", "origin")
    tables = [table("All settings", head, rows)]
    if overridden:
        tables.insert(0, table("Settings that were overridden", head, overridden, folded=False))
    return Section(
        "settings",
        "Settings",
        (f"{len(overridden):,} of {len(rows):,} settings were overridden: file, environment or command line.",),
        tables=tuple(tables),
    )
