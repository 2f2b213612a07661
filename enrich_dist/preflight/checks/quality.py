"""Whether the latest result passed, and the code is no slower than the baseline."""

from __future__ import annotations

from enrich_dist.events import Step
from enrich_dist.preflight.context import Fact, Outcome, PreflightContext, failed, passed, unknown, warning
from enrich_dist.store.run_directory import Number, Output


def last_verdict(context: PreflightContext) -> Outcome:
    """Check that the latest result of the work directory may be published by the current thresholds."""
    from enrich_dist.core.tables import percent
    from enrich_dist.errors import PublicationBlockedError
    from enrich_dist.results.publish import require_passed
    from enrich_dist.results.quality import Gate

    judged = context.directory.all_latest().get(Step.ENRICHED_AWARDS)
    if judged is None:
        return unknown(f"{context.directory.root} contains no judged result yet.")
    facts: dict[str, Fact] = {"run_id": judged.run_id, "match_rate": judged.numbers.get(Number.MATCH_RATE)}
    try:
        require_passed(judged.path(Output.RESULT), Gate.of(context.settings))
    except PublicationBlockedError as error:
        return failed(error.message.removeprefix("Not published: "), facts)
    rate = percent(float(judged.numbers[Number.MATCH_RATE]))
    return passed(f"The result of run {judged.run_id} passed with a match rate of {rate}.", facts)


def baseline(context: PreflightContext) -> Outcome:
    """Compare the latest measurement of this machine, if it is of this code, with the baseline."""
    from enrich_dist.errors import StateError
    from enrich_dist.runs.archive import archive_path, baseline_for, latest_session, read_archive
    from enrich_dist.runs.baseline import Verdict, compare
    from enrich_dist.runs.environment import this_machine

    machine = this_machine().digest
    records = read_archive(archive_path(context.settings)).records
    try:
        latest = latest_session(record for record in records if record.machine.digest == machine)
        before = baseline_for(archive_path(context.settings), latest, records)
    except StateError as error:
        return failed(f"This machine has no baseline: {error.message}")
    of_baseline, measured = before[-1].code.label, latest[-1].code.label
    size = latest[-1].size_class
    facts: dict[str, Fact] = {"baseline": of_baseline, "measured": measured, "machine": machine, "dataset": size}
    name = f"the baseline ({of_baseline}, {size})"
    # A measurement of uncommitted changes is not a measurement of any revision.
    if measured != context.code.label or context.code.modified:
        return warning(
            f"The latest measurement is of {measured}, not of {context.code.label}, so whether this code is slower "
            f"than {name} is unknown.",
            facts,
            remedy="Commit, then measure this revision with `enrich-dist bench run`.",
        )
    if {record.id for record in latest} <= {record.id for record in before}:
        return passed(f"This revision is {name} itself.", facts)
    comparison = compare(before, latest)
    reasons = "; ".join(comparison.reasons) or "no metric decided"
    if comparison.verdict is Verdict.REGRESSION:
        return failed(f"Regression against {name}: {reasons}.", facts)
    if comparison.verdict is Verdict.INCONCLUSIVE:
        return warning(
            f"The comparison with {name} is inconclusive: {reasons}.",
            facts,
            remedy="Measure again with `enrich-dist bench run` while the machine is idle.",
        )
    return passed(f"No regression against {name}: {reasons}.", facts)
