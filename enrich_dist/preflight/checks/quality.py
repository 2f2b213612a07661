"""Does the code work, was its latest result good enough, and is it no slower than the baseline?"""

from __future__ import annotations

from enrich_dist.events import Step
from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Fact, Outcome, failed, passed, unknown, warning
from enrich_dist.preflight.readiness_file import readiness_folder
from enrich_dist.store.run_directory import Number, Output


def smoke_test(context: PreflightContext) -> Outcome:
    """Take the latest smoke test for an answer where it counts, else run one."""
    from enrich_dist.preflight.smoke_run import read_smoke_test, run_smoke_test

    readiness = context.settings.readiness
    config = readiness.smoke_config
    if not config.is_file():
        return failed(
            f"There is no settings file {config} to run it with.",
            remedy="Start the preflight in the project's folder, or name a small run in readiness.smoke_config.",
        )
    folder = readiness_folder(context.directory.root)
    done = None if context.smoke_anew else read_smoke_test(folder)
    if done is None or not done.counts(
        context.code, context.source_digest, config, now=context.now, max_age_hours=readiness.max_age_hours
    ):
        scratch = context.scratch("smoke-")
        code, digest = context.code, context.source_digest
        done = run_smoke_test(config, scratch, folder, code=code, source_digest=digest)
    facts: dict[str, Fact] = {
        "config": done.config,
        "revision": done.revision,
        "seconds": done.seconds,
        "run_at": done.timestamp,
    }
    if not done.passed:
        return failed(f"The run with {config} has not passed: {done.problem}.", facts=facts)
    return passed(
        f"{config} was run on {done.revision} in {done.seconds:,.1f} s (at {done.timestamp}) and published "
        f"{done.awards or 0:,} awards.",
        {**facts, "match_rate": done.match_rate, "awards": done.awards},
    )


def last_verdict(context: PreflightContext) -> Outcome:
    """Whether the latest result of the work directory might be published by the thresholds of now."""
    from enrich_dist.errors import PublicationBlockedError
    from enrich_dist.results.publish import require_passed
    from enrich_dist.results.quality import Gate

    judged = context.directory.all_latest().get(Step.ENRICHED_AWARDS)
    if judged is None:
        return unknown(f"No result was judged in {context.directory.root} yet.")
    facts: dict[str, Fact] = {"run_id": judged.run_id, "match_rate": judged.numbers.get(Number.MATCH_RATE)}
    try:
        require_passed(judged.path(Output.RESULT), Gate.of(context.settings))
    except PublicationBlockedError as error:
        return failed(error.message.removeprefix("Not published: "), facts=facts)
    return passed(
        f"The result of run {judged.run_id} has passed, with a match rate of {judged.numbers['match_rate']:.2%}.",
        facts=facts,
    )


def baseline(context: PreflightContext) -> Outcome:
    """Hold the latest measurement of this machine against its baseline, where it is of this code."""
    from enrich_dist.errors import StateError
    from enrich_dist.runs.archive import archive_path, baseline_for, latest_session, read_archive
    from enrich_dist.runs.baseline import Verdict, compare
    from enrich_dist.runs.machine import this_machine

    machine = this_machine().digest
    records = read_archive(archive_path(context.settings)).records
    try:
        latest = latest_session(record for record in records if record.machine.digest == machine)
        before = baseline_for(archive_path(context.settings), latest, records)
    except StateError as error:
        return failed(f"This machine has no baseline: {error.message}")
    of_baseline, measured = before[-1].code.label, latest[-1].code.label
    facts: dict[str, Fact] = {
        "baseline": of_baseline,
        "measured": measured,
        "machine": machine,
        "dataset": latest[-1].dataset.size_class,
    }
    here = f"the baseline ({of_baseline}, {latest[-1].dataset.size_class})"
    # What was measured with changes on top of a commit is no measurement of any revision.
    if measured != context.code.label or context.code.modified:
        return warning(
            f"There is {here}, but the latest measurement is of {measured} and not of {context.code.label}, so that "
            "nobody knows whether this code is slower.",
            remedy="Commit, then measure this revision by `enrich-dist bench run`.",
            facts=facts,
        )
    if {record.id for record in latest} <= {record.id for record in before}:
        return passed(f"This revision is {here} itself.", facts=facts)
    comparison = compare(before, latest)
    reasons = "; ".join(comparison.reasons) or "no figure decided"
    if comparison.verdict is Verdict.REGRESSION:
        return failed(f"A regression against {here}: {reasons}.", facts=facts)
    if comparison.verdict is Verdict.CANNOT_TELL:
        return warning(
            f"Whether this code is slower than {here} cannot be told: {reasons}.",
            remedy="Measure again by `enrich-dist bench run` while the machine is idle.",
            facts=facts,
        )
    return passed(f"No regression against {here}: {reasons}.", facts=facts)
