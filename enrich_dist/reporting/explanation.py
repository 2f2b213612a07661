"""Print an explanation: the match weights of each candidate as a waterfall chart, from the prior to the total.

The layout fits 80 columns and does not rely on colours. Does not cover what is explained (``results.explain``).
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from enrich_dist.core.console import PlainConsole
from enrich_dist.core.tables import counted, make_table
from enrich_dist.matching.decisions import SAME_PLACE
from enrich_dist.matching.shared_words import AGREES, MISSING, SharedWords
from enrich_dist.reporting.terminal import rich_table
from enrich_dist.results.explanation import (
    HUMAN_REVIEW,
    Appearance,
    Candidate,
    Explanation,
    Recipient,
    format_probability,
)
from enrich_dist.results.lookup import Award

_CHART_WIDTH = 25
_MORE, _LESS, _AXIS, _NOTHING = "█", "▒", "│", "·"
_LABELS = {"sibling": "words", "address": "suite", "uei": "UEI", "duns": "DUNS"}
_COLOURS = {"accepted": "green", "review": "yellow", "unmatched": "red"}
_LISTED = 5


def print_explanation(console: PlainConsole, explanation: Explanation, awards: Sequence[Award]) -> None:
    """Print the company, the reason for its outcome, and its candidates with their waterfall charts."""
    for award in awards[:_LISTED]:
        facts = " · ".join(str(fact) for fact in (award.agency, award.phase, award.year) if fact)
        console.print(Text(f"Award {award.award_id}", overflow="fold"))
        console.print(f"  {award.title or '(no title)'} ({facts})")
    if len(awards) > _LISTED:
        console.print(f"  and {len(awards) - _LISTED} more awards with this number")
    _print_company(console, explanation)
    low, high = _range(explanation.candidates)
    for number, candidate in enumerate(explanation.candidates, start=1):
        console.print(_heading(number, candidate))
        console.print(_indented(_recipient_text(candidate.recipient)))
        console.print(_indented(_waterfall(candidate, explanation.recipients, low, high)))
        if candidate.words is not None:
            console.print(_indented(_words(candidate, candidate.words)))
        console.print(_indented(_competition(candidate, explanation)))
    if explanation.organisations > 1:
        console.print(_shares(explanation), "", sep="\n")
    for recipient in explanation.rejected_recipients[:_LISTED]:
        console.print(f"Rejected in review: {recipient.recipient_id}  {recipient.name or 'no name'}")
    if len(explanation.rejected_recipients) > _LISTED:
        console.print(f"  and {len(explanation.rejected_recipients) - _LISTED} more")


def print_appearances(console: PlainConsole, appearances: Sequence[Appearance]) -> None:
    """Print the companies that have a recipient as a candidate, and the outcome of each pair."""
    for recipient in dict.fromkeys(item.recipient for item in appearances):
        console.print(Text(recipient.name or "(no name)", style="bold"))
        console.print(_indented(_recipient_text(recipient)))
    count = len({item.company_key for item in appearances})
    console.print("", f"Candidate of {counted(count, 'company', 'companies')}:", sep="\n")
    several = len({item.recipient.recipient_id for item in appearances}) > 1
    rows: list[tuple[object, ...]] = []
    for item in appearances:
        recipient_id = f" [as {item.recipient.recipient_id}]" if several else ""
        probability = "" if item.probability is None else format_probability(item.probability)
        name = item.company_name or "(no name)"
        rows.append((name, item.award_count, f"{item.match_weight:+.1f}", probability, item.outcome))
        rows.append((f"{item.company_key}{recipient_id}", "", "", "", ""))
    console.print(rich_table(make_table(("company", "awards", "bits", "probability", "outcome"), rows)))
    console.print("", "To see the match weights of a pair: enrich-dist explain --company KEY", sep="\n")


def _print_company(console: PlainConsole, explanation: Explanation) -> None:
    company = explanation.company
    title = Text(company.name or "(no name)", style="bold")
    console.print(title.append(f"  {counted(company.award_count, 'award')}", "none"))
    console.print(Text(f"  {company.key}", overflow="fold"))
    known = {"also": company.names[1:], "UEI": company.ueis, "DUNS": company.duns, "in": company.places}
    for label, values in known.items():
        if values:
            console.print(f"  {label}: {_listed(values)}")
    for sentence in explanation.shared_identifiers:
        console.print(f"  {sentence}", style="yellow")
    colour = _COLOURS.get(explanation.reason.split(":")[0], "")
    reason = explanation.reason[0].upper() + explanation.reason[1:] + "."
    console.print("", Text(reason, style=f"bold {colour}"), sep="\n")
    if explanation.note:
        console.print(explanation.note, style="yellow")
    if explanation.organisations:
        count, shown = explanation.organisations, len(explanation.candidates)
        best = f", the best {shown} are shown" if shown < count else ""
        console.print(f"{counted(count, 'candidate organisation')}{best}.")
    console.print()


def _heading(number: int, candidate: Candidate) -> Table:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(width=2)
    table.add_column(overflow="fold", ratio=1)
    table.add_column(justify="right", no_wrap=True)
    name = Text(candidate.recipient.name or "(no name)", style="bold")
    table.add_row(str(number), name, Text(f"probability {format_probability(candidate.probability)}", style="bold"))
    return table


def _recipient_text(recipient: Recipient) -> Text:
    place = ", ".join(part for part in (recipient.street, recipient.place) if part)
    ids = f"{recipient.recipient_id} · UEI {recipient.uei or 'none'} · DUNS {recipient.duns or 'none'}"
    return Text(f"{place}\n{ids}", style="dim", overflow="fold")


def _range(candidates: Sequence[Candidate]) -> tuple[float, float]:
    """Return the minimum and maximum running total of all candidates, so that all charts have one scale."""
    totals = [0.0]
    for candidate in candidates:
        total = candidate.prior
        totals.append(total)
        for comparison in candidate.comparisons:
            # A review decision outweighs all other comparisons by far.
            if comparison.name != HUMAN_REVIEW:
                total += comparison.weight
                totals.append(total)
    return min(totals), max(*totals, min(totals) + 1.0)


def _waterfall(candidate: Candidate, recipients: int, low: float, high: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("", width=6, no_wrap=True)
    table.add_column("", width=28, overflow="fold")
    for title in ("bits", "total"):
        table.add_column(title, width=6, justify="right", no_wrap=True)
    table.add_column("", width=_CHART_WIDTH, no_wrap=True)
    table.add_row("prior", f"one of {recipients:,} recipients", *_step(0.0, candidate.prior, low, high))
    total = candidate.prior
    for comparison in candidate.comparisons:
        label = Text(_LABELS.get(comparison.name, comparison.name))
        table.add_row(label, Text(comparison.outcome), *_step(total, comparison.weight, low, high))
        total += comparison.weight
    return table


def _step(before: float, weight: float, low: float, high: float) -> tuple[str, str, Text]:
    after = before + weight
    return f"{weight:+.1f}", f"{after:+.1f}", bar(before, after, low, high)


def bar(before: float, after: float, low: float, high: float) -> Text:
    """Return a bar of the waterfall from ``before`` to ``after``, with an axis at 0 bits (even odds)."""

    def column(value: float) -> int:
        return round((min(max(value, low), high) - low) / (high - low) * (_CHART_WIDTH - 1))

    first, last = sorted((column(before), column(after)))
    sign = _NOTHING if abs(after - before) < 0.05 else _MORE if after > before else _LESS
    cells = [" "] * _CHART_WIDTH
    cells[column(0.0)] = _AXIS
    cells[first : last + 1] = sign * (last + 1 - first)
    return Text("".join(cells), style={_MORE: "green", _LESS: "red"}.get(sign, "dim"))


def _indented(content: RenderableType) -> Padding:
    return Padding(content, (0, 0, 1, 3), expand=False)


def _words(candidate: Candidate, words: SharedWords) -> RenderableType:
    kind = "" if candidate.name_kind == "legal" else f" ({candidate.name_kind} name)"
    rows = [(word.text, f"{word.bits:.1f}", word.frequency, word.agreement) for word in words.words]
    styles = {word.agreement: "red" if word.agreement == MISSING else "yellow" for word in words.words} | {AGREES: ""}
    parts: list[RenderableType] = [
        Text(f"company    {words.company_name}"),
        Text(f"recipient  {words.recipient_name}{kind}"),
        rich_table(make_table(("words of the company", "bits", "recipients with it", ""), rows), styles),
    ]
    if candidate.called:
        parts.append(Text(f"the recipient was {candidate.called}"))
    if words.additional:
        parts.append(Text(f"only in the recipient: {', '.join(words.additional)}"))
    total, agreeing, maximum = candidate.name_bits
    limit = f"; the maximum for a name is {maximum:.1f}" if agreeing > maximum else ""
    return Group(*parts, Text(f"{agreeing:.1f} of {total:.1f} bits of the name agree{limit}"))


def _competition(candidate: Candidate, explanation: Explanation) -> Text:
    bits = "by its address alone" if candidate.method == SAME_PLACE else f"{candidate.total:+.1f} bits"
    text = Text(f"{bits}: probability {format_probability(candidate.alone)} as the only candidate")
    if candidate.max_lone_probability < 1 and candidate.method != SAME_PLACE:
        text.append(f" (maximum by name and place {format_probability(candidate.max_lone_probability)})")
    others = explanation.organisations - 1
    if others:
        text.append(f"; with {counted(others, 'other organisation')}: {format_probability(candidate.probability)}")
    text.append(".")
    if candidate.also:
        names = [f"{item.recipient_id} ({item.name or 'no name'}, {item.place})" for item in candidate.also]
        text.append(f"\nRows of the same organisation: {_listed(names)}.")
    if candidate.published != candidate.recipient:
        text.append(f"\nPublished: {candidate.published.recipient_id}, the best documented of them.")
    return text


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return "; ".join(texts[:_LISTED]) + more


def _shares(explanation: Explanation) -> Table:
    rows = [
        (str(number), item.recipient.name or item.recipient.recipient_id, format_probability(item.probability))
        for number, item in enumerate(explanation.candidates, start=1)
    ]
    if others := explanation.organisations - len(explanation.candidates):
        shown = sum(candidate.probability for candidate in explanation.candidates)
        rest = max(0.0, 1.0 - explanation.no_match_probability - shown)
        rows.append(("", counted(others, "other"), format_probability(rest)))
    rows.append(("", "no matching recipient", format_probability(explanation.no_match_probability)))
    return rich_table(make_table(("", "Distribution of the probability", ""), rows))
