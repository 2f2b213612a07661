"""What a report shows of a run: its sections with their sentences, charts and tables, from the facts alone.

Every number is one of the facts, formatted. A section that has nothing to show says so in a sentence. Covers the
choice and the words. Does not cover how a page looks (``page``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from enrich_dist.observe import report
from enrich_dist.observe.events import AttemptTimes, format_duration
from enrich_dist.observe.html import charts
from enrich_dist.observe.html.charts import Bar, Chart, Share
from enrich_dist.observe.html.facts import RunFacts
from enrich_dist.observe.html.history import RunSummary
from enrich_dist.observe.report import percent
from enrich_dist.observe.terminal import TITLES
from enrich_dist.result.undecided import Undecided
from enrich_dist.store.rundir import STEPS

# A page stays one that a browser likes.
_MOST_ROWS = 500
_MOST_BARS = 5_000
_MOST_WORKERS = 40
_MOST_RUNS = 30
_LEAST_LABELS = 5
_FEW_AWARDS = 20
_GROUPS = ("agency", "state", "award_year", "identifier_type", "phase", "program")


@dataclass(frozen=True)
class Table:
    """Cells as text; ``numeric`` columns are aligned right. ``folded``: shown on request, as a chart says the same."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    folded: bool = True


@dataclass(frozen=True)
class Section:
    """A part of the report: its sentences, charts with their tables, and further tables."""

    key: str
    title: str
    text: tuple[str, ...] = ()
    charts: tuple[tuple[Chart, Table | None], ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Tile:
    """A figure at the top; ``tone`` colours what is good or bad about it."""

    label: str
    value: str
    detail: str
    tone: Literal["good", "bad", "plain"] = "plain"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], *, folded: bool = True) -> Table:
    """A table of values: whole numbers with thousands; a column of numbers is aligned right."""
    values = [tuple(row) for row in rows]
    numeric = tuple(
        bool(values) and all(isinstance(row[column], int | float) or _measured(row[column]) for row in values)
        for column in range(len(head))
    )
    return Table(caption, tuple(head), tuple(tuple(_cell(cell) for cell in row) for row in values), numeric, folded)


def headline(facts: RunFacts) -> str:
    """The run in a sentence."""
    awards = facts.metrics["awards"]
    return (
        f"{awards['matched']:,} of {awards['valid']:,} valid awards have an accepted match "
        f"({percent(facts.metrics['match_rate'])}); {awards['review']:,} wait for review, {awards['unmatched']:,} are "
        "unmatched."
    )


def tiles(facts: RunFacts) -> list[Tile]:
    """The figures at the top."""
    metrics, checks = facts.metrics, {check["name"]: check for check in facts.verdict["checks"]}
    precision, recall = metrics["accuracy"]["precision"], metrics["accuracy"]["recall"]

    def tone(check: str) -> Literal["good", "bad"]:
        return "good" if checks[check]["passed"] else "bad"

    shown = [
        Tile(
            "Match rate",
            percent(metrics["match_rate"]),
            f"of the awards; {percent(checks['match_rate']['threshold'])} are required",
            tone("match_rate"),
        ),
        Tile("By company", percent(metrics["companies"]["match_rate"]), f"of {metrics['companies']['valid']:,}"),
        Tile(
            "Estimated precision",
            _estimate(precision["estimate"]),
            f"{_interval(precision)}; {percent(checks['estimated_precision']['threshold'])} are required",
            tone("estimated_precision"),
        ),
        Tile("Estimated recall", _estimate(recall["estimate"]), _interval(recall)),
        Tile("Time", format_duration(facts.summary.numbers["run_seconds"]), "of all steps of this run"),
    ]
    if facts.workers:
        most = max(facts.workers, key=lambda worker: worker.peak_memory_bytes)
        limit = f"limit {_mb(most.memory_limit_bytes)} MB" if most.memory_limit_bytes else "no limit"
        shown.append(Tile("Worker memory", f"{_mb(most.peak_memory_bytes)} MB", f"the highest peak; {limit}"))
    return shown


def all_sections(facts: RunFacts) -> list[Section]:
    """The report from top to bottom."""
    return [
        _verdict(facts),
        _comparison(facts),
        _methods(facts),
        _groups(facts),
        _distributions(facts),
        _reliability(facts),
        _undecided(facts),
        _steps(facts),
        _timeline(facts),
        _memory(facts),
        _trouble(facts),
        _accounting(facts),
        _model(facts),
        _settings(facts),
    ]


def _verdict(facts: RunFacts) -> Section:
    rows = [
        (check["name"].replace("_", " "), "passed" if check["passed"] else "FAILED", check["reason"])
        for check in facts.verdict["checks"]
    ]
    if facts.passed:
        text = "The result is published." if facts.published else "The result may be published, and is not yet."
    else:
        text = f"Nothing was published: {'; '.join(facts.verdict['reasons'])}."
    return Section(
        "verdict",
        "Verdict",
        (text,),
        tables=(table("Checks of the verdict", ("check", "outcome", "finding"), rows, folded=False),),
    )


_Format = Callable[[float], str]
_COMPARED: tuple[tuple[str, str, _Format], ...] = (
    ("match_rate", "match rate", percent),
    ("match_rate_by_company", "match rate by company", percent),
    ("estimated_precision", "estimated precision", percent),
    ("estimated_recall", "estimated recall", percent),
    ("awards_matched", "awards matched", lambda value: f"{value:,.0f}"),
    ("awards_review", "awards for review", lambda value: f"{value:,.0f}"),
    ("awards_unmatched", "awards unmatched", lambda value: f"{value:,.0f}"),
    ("run_seconds", "seconds of all steps", lambda value: f"{value:,.1f}"),
    ("farm_seconds", "seconds of the farm", lambda value: f"{value:,.1f}"),
    ("chunks_computed", "chunks computed", lambda value: f"{value:,.0f}"),
    ("worker_peak_memory_mb", "worker peak memory, MB", lambda value: f"{value:,.0f}"),
    ("failed_attempts", "failed attempts", lambda value: f"{value:,.0f}"),
    ("degradations", "batches made smaller", lambda value: f"{value:,.0f}"),
)


def _comparison(facts: RunFacts) -> Section:
    others = compared_with(facts)
    text = []
    if facts.previous is None:
        text.append("No earlier run was reported in this work directory.")
    if facts.baseline is None:
        text.append("No baseline is set: enrich-dist report --save-baseline FILE makes this run one to compare with.")
    if not others:
        return Section("comparison", "Compared with earlier runs", tuple(text))
    rows = []
    for name, title, shown in _COMPARED:
        own = facts.summary.numbers.get(name)
        cells: list[str] = [title, "" if own is None else shown(own)]
        for _, other in others:
            value = other.numbers.get(name)
            cells += ["" if value is None else shown(value), _change(own, value, shown)]
        rows.append(tuple(cells))
    rows.append(("verdict", facts.summary.status, *(cell for _, other in others for cell in (other.status, ""))))
    head = ("figure", "this run", *(cell for title, _ in others for cell in (title, "change")))
    shown_table = Table("This run beside others", head, tuple(rows), (False, *(True for _ in head[1:])), folded=False)
    return Section("comparison", "Compared with earlier runs", tuple(text), charts=_trend(facts), tables=(shown_table,))


def _trend(facts: RunFacts) -> tuple[tuple[Chart, Table | None], ...]:
    runs = [*facts.history[-_MOST_RUNS + 1 :], facts.summary]
    if len(runs) < 3:  # two are in the table
        return ()
    names = ("match_rate", "estimated_precision", "estimated_recall")
    labels = [f"run {number}" for number in range(1, len(runs))] + ["this run"]
    series = [(name.replace("_", " "), labels, [run.numbers.get(name) for run in runs]) for name in names]
    chart = charts.lines(
        "trend",
        "Rates of the latest runs",
        f"Lines over the latest {len(runs)} runs of this work directory; the last match rate is "
        f"{percent(facts.metrics['match_rate'])}.",
        series,
        x_title="",
        y_title="",
        share=True,
    )
    rows = [
        (label, run.status, *(_share(run.numbers.get(name)) for name in names), f"{run.numbers['run_seconds']:,.1f}")
        for label, run in zip(labels, runs, strict=True)
    ]
    head = ("run", "verdict", "match rate", "precision", "recall", "seconds")
    return ((chart, table("Rates of the latest runs", head, rows)),)


def _methods(facts: RunFacts) -> Section:
    rows = [
        (report.METHOD_NAMES.get(name, name), awards, companies, share)
        for name, awards, companies, share in report.method_rows(facts.metrics)
    ]
    if not rows:
        return Section("methods", "Accepted matches by method", ("Nothing is accepted.",))
    chart = charts.shares(
        "methods",
        "Share of the valid awards, by the method of their match",
        _listed((name, share) for name, _, _, share in rows),
        [Share(name, share, percent(share), f"· {awards:,} awards") for name, awards, _, share in rows],
    )
    shown = table(
        "Accepted matches by method",
        ("method", "awards", "companies", "share of awards"),
        [(name, awards, companies, percent(share)) for name, awards, companies, share in rows],
    )
    return Section("methods", "Accepted matches by method", charts=((chart, shown),))


def _groups(facts: RunFacts) -> Section:
    return Section(
        "groups",
        "Match rates",
        (
            "Share of the valid awards with an accepted match, the commonest values first. A low rate in a large group "
            "tells where partners are missing among the recipients, or where names differ. Grey: fewer than "
            f"{_FEW_AWARDS} awards, too few to compare.",
        ),
        charts=tuple(_group(facts, group) for group in sorted(facts.metrics["by"], key=_group_order)),
    )


def _group(facts: RunFacts, group: str) -> tuple[Chart, Table]:
    title = f"Match rate by {group.replace('_', ' ')}"
    head = (group.replace("_", " "), "awards", "matched", "match rate")
    every = [(str(i["value"]), i["awards"], i["matched"], i["match_rate"]) for i in facts.metrics["by"][group]]
    if group == "award_year":
        every.sort(key=lambda row: row[0])
        rows = [_rate(value, awards, rate) for value, awards, _, rate in every]
        chart = charts.columns_of_shares(f"by-{group}", title, _extremes(every), rows, "award year")
    else:
        few = report.group_rows(facts.metrics, group)
        rows = [_rate(value, awards, rate) for value, awards, _, rate in few]
        chart = charts.shares(f"by-{group}", title, _listed((value, rate) for value, _, _, rate in few[:5]), rows)
    return chart, table(
        title, head, [(value, awards, matched, percent(rate)) for value, awards, matched, rate in every]
    )


def _rate(value: str, awards: int, rate: float) -> Share:
    return Share(value, rate, percent(rate), f"of {awards:,}", pale=awards < _FEW_AWARDS)


def _group_order(group: str) -> int:
    """Those of a kind side by side; one that is new comes last."""
    return _GROUPS.index(group) if group in _GROUPS else len(_GROUPS)


def _distributions(facts: RunFacts) -> Section:
    decided = {setting.key: setting.value for setting in facts.settings}
    marks = [
        (float(decided[f"matching.{name}"]), text)
        for name, text in (("review_probability", "review from here"), ("accept_probability", "accepted from here"))
        if f"matching.{name}" in decided
    ]
    bins = facts.metrics["probability_distribution"]
    weights = facts.candidates.weights
    statuses = tuple(charts.STATUS_COLOURS)
    if not weights:
        return Section("distributions", "Probabilities and scores", ("No company has a candidate.",))
    probability = charts.stacked(
        "probabilities",
        "Companies by the match probability of their best candidate",
        f"Most lie in the highest bin: {bins[-1]['matched']:,} are matched with a probability of at least "
        f"{bins[-1]['from_probability']:.2f}.",
        bins=[(item["from_probability"], item["to_probability"]) for item in bins],
        counts={status: [item[status] for item in bins] for status in statuses},
        axis="match probability",
        marks=marks,
    )
    score = charts.stacked(
        "scores",
        "Companies by the score of their best candidate",
        f"Scores reach from {weights[0].from_bits} to {weights[-1].to_bits} bits.",
        bins=[(item.from_bits, item.to_bits) for item in weights],
        counts={status: [getattr(item, status) for item in weights] for status in statuses},
        axis="match weight, bits",
    )
    return Section(
        "distributions",
        "Probabilities and scores",
        (
            "A score is the sum of what the comparisons weigh, in bits: each doubles the odds. The probability also "
            "knows how many recipients there are, and the company's other candidates. Companies without any candidate "
            f"({facts.candidates.nothing_found_total:,}) are in neither chart.",
        ),
        charts=(
            (
                probability,
                table(
                    "Companies by match probability",
                    ("match probability", *statuses),
                    [
                        (f"{i['from_probability']:.2f} to {i['to_probability']:.2f}", *(i[s] for s in statuses))
                        for i in reversed(bins)
                    ],
                ),
            ),
            (
                score,
                table(
                    "Companies by score",
                    ("bits", *statuses),
                    [(f"{w.from_bits} to {w.to_bits}", *(getattr(w, s) for s in statuses)) for w in reversed(weights)],
                ),
            ),
        ),
    )


def _reliability(facts: RunFacts) -> Section:
    title, found = "Are the probabilities honest?", facts.reliability
    estimated = report.accuracy_sentence(facts.metrics)
    if isinstance(found, str):
        return Section("reliability", title, (estimated, found))
    if sum(item.companies for item in found.bins) < _LEAST_LABELS:
        few = f"{found.identified:,} companies share an identifier with a recipient: too few to measure it in this run."
        return Section("reliability", title, (estimated, few))
    points = [
        (item.mean_probability, item.right / item.companies, *_wilson(item.right, item.companies), item.companies)
        for item in found.bins
    ]
    chart = charts.reliability(
        "reliability",
        "Reliability: how often a best candidate is right, by its probability",
        "; ".join(f"at probability {mean:.2f}: {percent(right)} of {n:,}" for mean, right, _, _, n in points),
        points,
    )
    rows = [
        (f"{item.from_probability:.1f} to {item.to_probability:.1f}", item.companies, f"{item.mean_probability:.3f}",
         item.right, percent(right), f"{percent(low)} to {percent(high)}")
        for item, (_, right, low, high, _) in zip(found.bins, points, strict=True)
    ]  # fmt: skip
    head = ("probability", "companies", "mean probability", "right", "share right", "95 % interval")
    of_all = "" if found.companies == found.identified else f" of the {found.identified:,}"
    return Section(
        "reliability",
        title,
        (
            estimated,
            f"Judged by {found.companies:,}{of_all} companies that share a UEI or DUNS with a recipient, whose "
            f"identifiers were hidden; {found.without_candidate:,} have no candidate by name. Points on the line are "
            "honest, points above it too modest. As all these companies have a partner, low probabilities come out "
            "too modest here.",
        ),
        charts=((chart, table("Reliability by probability", head, rows)),),
    )


def _undecided(facts: RunFacts) -> Section:
    found = facts.candidates
    text = [
        f"{found.undecided_total:,} companies have a candidate that was not accepted; for "
        f"{found.nothing_found_total:,} the search found none."
    ]
    tables = []
    if found.undecided:
        text.append(
            "First come those where a decision gains most: awards times probability. All candidates of one: "
            "enrich-dist explain --company KEY. To decide: enrich-dist review export."
        )
        head = ("company", "awards", "status", "best candidate", "probability", "why", "key")
        tables.append(
            table(
                _of("Unmatched companies with their best candidate", found.undecided, found.undecided_total),
                head,
                [_undecided_row(item) for item in found.undecided],
                folded=False,
            )
        )
    if found.nothing_found:
        rows = [(item.company, item.awards, item.company_key) for item in found.nothing_found]
        caption = _of(
            "Companies without any candidate, by their awards", found.nothing_found, found.nothing_found_total
        )
        tables.append(table(caption, ("company", "awards", "key"), rows))
    if not tables:
        text = ["Every company has an accepted match."]
    return Section("undecided", "Unmatched awards and their best candidates", tuple(text), tables=tuple(tables))


def _undecided_row(item: Undecided) -> tuple[object, ...]:
    place = f" ({item.candidate_place})" if item.candidate_place else ""
    probability = "" if item.probability is None else f"{item.probability:.3f}"
    candidate = f"{item.candidate or ''}{place}"
    return item.company, item.awards, item.status, candidate, probability, item.evidence or "", item.company_key


def _steps(facts: RunFacts) -> Section:
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
            _mb(step.peak_memory_bytes),
            "found valid" if step.reused else "of another run" if step.run_id != facts.summary.run_id else "made",
        )
        for step in shown
    ]
    head = ("step", "rows", "seconds", "rows/s", "peak MB of the driver", "output")
    return Section("steps", "Steps", charts=((chart, table("Steps of the run", head, rows)),))


def _timeline(facts: RunFacts) -> Section:
    title = "Chunks over time, by worker"
    numbers = facts.steps["chunk_matches"].numbers if "chunk_matches" in facts.steps else {}
    text = []
    if numbers.get("chunks_resumed"):
        text.append(
            f"{numbers['chunks_resumed']:,} of {numbers['chunks']:,} chunks were found finished and not computed again."
        )
    if not facts.attempts:
        return Section("timeline", title, (*text, "No timeline was kept of the chunks of this run."))
    if not numbers.get("chunks_computed"):
        text.append("The timeline is that of the latest farm that computed any.")
    began = [attempt for attempt in facts.attempts if attempt.started_seconds is not None]
    longest = sorted(began, key=_busy_seconds, reverse=True)[:_MOST_BARS]
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
        for a in ordered[:_MOST_ROWS]
    ]
    head = ("chunk", "attempt", "worker", "outcome", "submitted", "started", "finished", "received")
    caption = _of("When each attempt did what, in seconds since the farm began", rows, len(ordered))
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


def _memory(facts: RunFacts) -> Section:
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
            _mb(worker.projected_peak_memory_bytes),
            _mb(worker.peak_memory_bytes),
            _mb(worker.memory_limit_bytes) if worker.memory_limit_bytes else "none",
        )
        for worker in facts.workers
    ]
    highest = sorted(zip(facts.workers, rows, strict=True), key=lambda item: item[0].peak_memory_bytes, reverse=True)[
        :_MOST_WORKERS
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
    highest = sorted(facts.histories, key=lambda history: history.peak_memory_bytes, reverse=True)[:_MOST_WORKERS]
    limits = {history.memory_limit_bytes for history in highest if history.memory_limit_bytes}
    chart = charts.lines(
        "memory-over-time",
        "Memory while the farm worked, as Dask sampled it",
        "; ".join(f"worker {h.worker}: at most {_mb(h.peak_memory_bytes)} MB" for h in highest[:6]),
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
    rows = [(f"worker {h.worker}", len(h.samples), _mb(h.peak_memory_bytes), h.restarts) for h in facts.histories]
    return chart, table("Samples per worker", ("worker", "samples", "highest MB", "restarts"), rows)


def _trouble(facts: RunFacts) -> Section:
    numbers = facts.steps["chunk_matches"].numbers if "chunk_matches" in facts.steps else {}
    degraded = [(chunk, record) for chunk, record in sorted(facts.records.items()) if record.degradations]
    set_aside = [row for _, record in sorted(facts.records.items()) for row in record.quarantined]
    tables: list[Table] = []
    text: list[str] = []
    if facts.failures:
        rows = [
            (str(f.chunk_id), str(f.attempt), str(f.kind), f.worker or "", f.message, f.next_step)
            for f in facts.failures[:_MOST_ROWS]
        ]
        failed_head = ("chunk", "attempt", "kind", "worker", "what happened", "what followed")
        tables.append(table(_of("Failed attempts", rows, len(facts.failures)), failed_head, rows, folded=False))
    elif numbers.get("failed_attempts"):
        text.append(f"{numbers['failed_attempts']:,} attempts failed.")
    else:
        text.append("No attempt failed.")
    if degraded:
        smaller = [
            (str(chunk), r.worker, f"{r.batch_rows:,}", f"{r.batch_rows_least:,}", _mb(r.peak_memory_bytes))
            for chunk, r in degraded[:_MOST_ROWS]
        ]
        head = ("chunk", "worker", "rows at a time", "in the end", "peak MB")
        caption = _of("Chunks whose worker took fewer rows at a time, near its memory limit", smaller, len(degraded))
        tables.append(table(caption, head, smaller, folded=False))
    else:
        text.append("No worker came near its memory limit.")
    if set_aside:
        aside = [(str(row["source_row"]), str(row["reason"])) for row in set_aside[:_MOST_ROWS]]
        caption = _of("Recipients that were set aside", aside, len(set_aside))
        tables.append(table(caption, ("row", "reason"), aside, folded=False))
    else:
        text.append("No recipient was set aside.")
    for name, said in (
        ("worker_restarts", "worker restarts"),
        ("chunks_doubled", "chunks given to a second worker"),
        ("chunks_in_parts", "chunks matched in parts"),
        ("checkpoints_damaged", "damaged checkpoints, computed again"),
    ):
        if numbers.get(name):
            text.append(f"{said[0].upper()}{said[1:]}: {numbers[name]:,}.")
    return Section("trouble", "Degradations and failures", (" ".join(text),), tables=tuple(tables))


def _accounting(facts: RunFacts) -> Section:
    document = facts.metrics["reconciliation"]
    rows = [(kind, part.replace("_", " "), count) for kind in ("awards", "recipients")
            for part, count in document[kind].items()]  # fmt: skip
    tables = [table("Rows in, and rows accounted for", ("table", "rows", "count"), rows, folded=False)]
    if facts.metrics["rejects"]:
        rejects = [
            (i["source_file"], i["outcome"], i["column"] or "", i["reason"], i["count"])
            for i in facts.metrics["rejects"]
        ]
        head = ("file", "outcome", "column", "reason", "count")
        tables.append(table("Rejected rows and repaired cells", head, rejects))
    text = "; ".join(document["differences"]) or "Every row read is accounted for"
    return Section("accounting", "Every row accounted for", (f"{text}.",), tables=tuple(tables))


def _model(facts: RunFacts) -> Section:
    model = facts.metrics["model"]
    text = [
        f"Weights are estimated from {model['recipients']:,} recipients and {model['identified_pairs']:,} pairs that "
        f"agree on an identifier. {percent(model['partner_share'])} of the companies have a partner among the "
        "recipients, by the run's own estimate."
    ]
    if decisions := report.decisions_text(facts.metrics["overrides"]):
        text.append(f"Decisions by persons: {decisions}")
    rows = [(name, outcome, f"{bits:+.2f}") for name, outcome, bits in report.model_rows(model)]
    return Section(
        "model",
        "The matching model",
        tuple(text),
        tables=(table("What each comparison weighs, in bits", ("comparison", "outcome", "bits"), rows),),
    )


def _settings(facts: RunFacts) -> Section:
    if not facts.settings:
        return Section("settings", "Settings", ("The run did not record its settings.",))
    rows = [(setting.key, setting.value, setting.origin) for setting in facts.settings]
    given = [row for row in rows if row[2] != "default"]
    head = ("setting", "value", "origin")
    tables = [table("All settings", head, rows)]
    if given:
        tables.insert(0, table("Settings that are not left at their default", head, given, folded=False))
    return Section(
        "settings",
        "Settings",
        (f"{len(given):,} of {len(rows):,} settings come from a file, the environment or the command line.",),
        tables=tuple(tables),
    )


def _wilson(part: int, whole: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z2 = 1.96**2
    centre = (part + z2 / 2) / (whole + z2)
    spread = (1.96 * (part * (whole - part) / whole + z2 / 4) ** 0.5) / (whole + z2)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def _change(own: float | None, other: float | None, shown: _Format) -> str:
    if own is None or other is None:
        return ""
    difference = own - other
    if shown is percent:
        return "none" if abs(difference) < 0.0005 else f"{100 * difference:+.1f} points"
    if shown(own) == shown(other):
        return "none"
    return f"{difference:+,.1f}" + (f" ({100 * difference / other:+.0f} %)" if other else "")


def _listed(items: Iterable[tuple[str, float]]) -> str:
    return "; ".join(f"{name}: {percent(share)}" for name, share in items)


def _extremes(rows: Sequence[tuple[str, int, int, float]]) -> str:
    if not rows:
        return "No award."
    most = max(rows, key=lambda row: row[1])
    return f"{len(rows)} values; the commonest is {most[0]} with {most[1]:,} awards and a rate of {percent(most[3])}."


def _of(caption: str, shown: Sequence[object], total: int) -> str:
    return caption if len(shown) == total else f"{caption} (the first {len(shown):,} of {total:,})"


def _estimate(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)


def _interval(share: dict[str, Any]) -> str:
    return (
        "nothing is accepted" if share["estimate"] is None else f"{percent(share['low'])} to {percent(share['high'])}"
    )


def _mb(count_bytes: int) -> str:
    return f"{count_bytes / 1e6:,.0f}"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _measured(value: object) -> bool:
    """Whether a text is a number, or the lack of one."""
    text = str(value).removeprefix("< ").removesuffix(" %").replace(",", "").lstrip("+-")
    return text in ("", "none", "–") or text.replace(".", "", 1).isdigit()


def compared_with(facts: RunFacts) -> list[tuple[str, RunSummary]]:
    """The runs that this one is compared with."""
    return [(title, run) for title, run in (("previous run", facts.previous), ("baseline", facts.baseline)) if run]
