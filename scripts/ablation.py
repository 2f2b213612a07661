"""Measure what each rule of the matcher adds: run the public sets without it.

    python -m scripts.ablation --data DIRECTORY                every rule on every set
    python -m scripts.ablation --data DIRECTORY --rules typo   rules whose name contains a text

For each rule and set: precision, recall, F1, calibration error, blocking recall, candidates and CPU time of matching,
as differences to the whole matcher. Prints a Markdown table and writes a record. Rules are switched off in this process
(``switches``); a merged level is compared like the level that its pairs would have without it. CPU time includes noise
of the machine. Does not retrain constants after a change, so a rule that others compensate for looks better than it is.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from enrich_dist.core.tables import markdown_table
from enrich_dist.matching import blocking, decisions
from enrich_dist.matching.matcher import OrganisationMatcher
from enrich_dist.schema import NameLevel, PlaceLevel, SiblingLevel, StreetLevel
from scripts.measure_accuracy import measure
from scripts.measuring import benchmark_parser, generate_case, machine_facts, show_progress, write_record
from scripts.peers.cases import Case, read_case
from scripts.peers.public_sets import HALVES, SETS, read_set
from scripts.switches import Change, constant, merged, method, replaced_method, without_lines, without_value, wrapped

FIGURES: Final = ("precision", "recall", "f1", "best_f1", "ece", "candidate_recall")
NOTHING: Final = 0.0005
"""Difference of F1 below which a rule adds nothing on a set."""
GENERATED: Final = (20_000, 3_000)
BLOCKING, NAMES, PLACES, WEIGHTS, DECISIONS, WORDS = (
    "blocking", "comparison of names", "comparison of places", "weights", "decisions", "words",
)  # fmt: skip


def main() -> None:
    """Measure all rules, print a table and write a record."""
    options = _options()
    facts = machine_facts()
    with tempfile.TemporaryDirectory(prefix="enrich-ablation-", dir=options.scratch) as name:
        cases = read_cases(options, Path(name))
        rules = [rule for rule in RULES if any(part in rule.name for part in options.rules or [""])]
        rows = run(rules, cases, Path(name))
    write_record(options.output, "ablation", {**facts, "sets": [case.name for case in cases], "rules": rows})
    print(table(rows))


def _options() -> argparse.Namespace:
    parser = set_parser(__doc__)
    parser.add_argument("--rules", nargs="+", metavar="TEXT", help="only rules whose name contains one of these")
    return parser.parse_args()


def set_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of ``read_cases``."""
    parser = benchmark_parser(description)
    parser.add_argument("--data", type=Path, required=True, help="directory with the public data")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), metavar="NAME", help=f"of {', '.join(SETS)} [all]")
    parser.add_argument("--without-generated", action="store_true", help="only the public sets")
    return parser


def read_cases(options: argparse.Namespace, scratch: Path) -> list[Case]:
    """Return the development sets, and a generated case."""
    cases = [read_set(name, options.data, HALVES[0]) for name in options.sets or SETS]
    if not options.without_generated:
        recipients, companies = GENERATED
        directory = scratch / "generated"
        generate_case(directory, recipients=recipients, companies=companies, seed=7)
        cases.append(read_case(directory, companies=None, recipients=None, seed=0))
    return cases


def run(changes: Sequence[Change], cases: Sequence[Case], scratch: Path) -> list[dict[str, Any]]:
    """Return, for the whole matcher and each change, its figures by set."""
    matching = Matching()
    with matching.observed():
        _measure_all(cases[:1], scratch, matching, "warm-up")
        matching.forget()
        rows = [{"name": "all", "group": "", "sets": _measure_all(cases, scratch, matching, "all")}]
        for change in changes:
            with change.in_force(), matching.repeated(not change.candidates):
                measured = _measure_all(cases, scratch, matching, change.name)
            rows.append({"name": change.name, "group": change.group, "sets": measured})
    return rows


def _measure_all(cases: Sequence[Case], scratch: Path, matching: Matching, name: str) -> dict[str, dict[str, float]]:
    show_progress(name)
    measured = {}
    for case in cases:
        matching.start(case.name)
        with tempfile.TemporaryDirectory(dir=scratch) as directory:
            found = measure(case, Path(directory) / "links")
        figures = {figure: round(float(found[figure] or 0), 5) for figure in FIGURES}
        measured[case.name] = {**figures, "candidates": matching.candidates, "cpu": round(matching.cpu_seconds, 3)}
    return measured


@dataclass
class Matching:
    """Observes the matcher: candidates and CPU seconds since ``start``. Repeats what an unchanged matcher has found."""

    candidates: int = 0
    cpu_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._found: dict[tuple[str, int, int], Any] = {}
        self._case = ""
        self._repeat = False

    def start(self, case: str) -> None:
        """Begin to count for a case."""
        self._case, self.candidates, self.cpu_seconds = case, 0, 0.0

    def forget(self) -> None:
        """Forget what was found."""
        self._found.clear()

    @contextmanager
    def repeated(self, repeat: bool) -> Iterator[None]:
        """Return stored candidates in this context, if ``repeat``; otherwise, match and store nothing."""
        self._repeat, stored = repeat, self._found
        self._found = stored if repeat else {}
        try:
            yield
        finally:
            self._repeat, self._found = False, stored

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Observe every call of the matcher in this context."""

        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def match(matcher: OrganisationMatcher, index: Any, recipients: pa.Table) -> Any:
                key = (self._case, recipients["source_row"][0].as_py() if len(recipients) else -1, len(recipients))
                if not (self._repeat and key in self._found):
                    started = time.thread_time()
                    self._found[key] = original(matcher, index, recipients)
                    self.cpu_seconds += time.thread_time() - started
                self.candidates += len(self._found[key][0])
                return self._found[key]

            return match

        with ExitStack() as stack:
            replaced_method(OrganisationMatcher, "match", wrap)(stack)
            yield


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of the rules: mean differences over the sets without the rule, in percentage points."""
    base = rows[0]["sets"]
    lines = []
    for row in rows[1:]:
        f1 = differences(row, base, "f1")
        largest = max(f1, key=lambda name: abs(f1[name]))
        candidates, cpu = (sum(one[figure] for one in row["sets"].values()) for figure in ("candidates", "cpu"))
        whole, whole_cpu = (sum(one[figure] for one in base.values()) for figure in ("candidates", "cpu"))
        lines.append(
            (
                row["group"],
                row["name"],
                *(points(_mean(differences(row, base, figure))) for figure in ("recall", "precision", "f1")),
                f"{points(f1[largest])} ({largest})" if abs(f1[largest]) >= NOTHING else "none",
                points(_mean(differences(row, base, "ece"))),
                f"{candidates / max(whole, 1) - 1:+.0%}",
                f"{cpu / whole_cpu - 1:+.0%}" if cpu else "–",
            )
        )
    head = ("group", "without", "recall", "precision", "F1", "largest change of F1", "ECE", "candidates", "CPU")
    return markdown_table(head, lines)


def differences(row: dict[str, Any], base: dict[str, Any], figure: str) -> dict[str, float]:
    """Return the figure minus that of the whole matcher, by set."""
    return {name: one[figure] - base[name][figure] for name, one in row["sets"].items()}


def points(share: float) -> str:
    """Return a difference of shares in percentage points."""
    return f"{100 * share:+.1f}" if abs(share) >= NOTHING else "0"


def _mean(values: dict[str, float]) -> float:
    return float(np.mean(list(values.values())))


def _no_exact_names(original: Callable[..., Any]) -> Callable[..., Any]:
    def equal_names(index: Any, batch: Any) -> Any:
        (positions, codes), cut = original(index, batch)
        kept = batch.name_codes[positions] != codes
        return (positions[kept], codes[kept]), cut

    return equal_names


def _nothing_under(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def names_under(vocabulary: Any, asked: str, hashes: Any) -> Any:
            return original(vocabulary, asked, hashes[:0] if asked == kind else hashes)

        return names_under

    return wrap


def _no_deletes(_: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _data, _starts: (np.empty(0, np.int32), np.empty(0, np.uint64))


def _apart(_: Callable[..., Any]) -> Callable[..., Any]:
    return lambda column: np.arange(len(column["company_id"]))


# What the pairs of a level would be without it, where that is not the level of different words.
_WITHOUT_LEVEL: Final = {
    NameLevel.EQUAL: NameLevel.SPELLING_VARIANT,
    NameLevel.ADDITIONAL_COMMON_WORDS: NameLevel.ADDITIONAL_WORDS,
    NameLevel.CONTAINED: NameLevel.ADDITIONAL_WORDS,
}
_UNSEEN = decisions.UNSEEN_PARTNER_SHARE
RULES: Final = (
    Change("equal names", BLOCKING, wrapped("blocking", "equal_names", _no_exact_names)),
    Change("names without spaces", BLOCKING, method("vocabulary.Vocabulary", "names_under", _nothing_under("compact"))),
    Change("truncated names", BLOCKING, method("vocabulary.Vocabulary", "names_under", _nothing_under("cut"))),
    Change(
        "similar names", BLOCKING,
        wrapped("blocking", "_similar_keys", lambda _: lambda *_: np.zeros(0, dtype=np.int64)),
    ),
    Change(
        "similar names at any overlap, by their information", BLOCKING,
        wrapped("blocking", "chance_information", lambda _: lambda _index: (blocking.NO_INFORMATION,) * 2),
    ),
    Change(
        "lower minimum share without a state", BLOCKING, constant("blocking.MIN_SHARE_STATELESS", blocking.MIN_SHARE)
    ),
    Change("typing errors", BLOCKING, wrapped("kernels.tokens", "deletes", _no_deletes)),
    *(
        Change(
            f"name: {level.label}", NAMES,
            merged("name_level", {level: _WITHOUT_LEVEL.get(level, NameLevel.DIFFERENT_WORDS)}),
        )
        for level in NameLevel
        if level > NameLevel.DIFFERENT_WORDS
    ),
    Change("siblings: all", NAMES, without_value("sibling_level")),
    *(
        Change(f"siblings: {level.label}", NAMES, merged("sibling_level", {level: SiblingLevel.NONE}))
        for level in SiblingLevel
        if level is not SiblingLevel.NONE
    ),
    Change("place", PLACES, without_value("place_level")),
    Change(
        "ZIP code beside the city", PLACES,
        merged("place_level", {PlaceLevel.SAME_CITY_AND_ZIP: PlaceLevel.SAME_CITY,
                               PlaceLevel.SAME_CITY_DIFFERENT_ZIP: PlaceLevel.SAME_CITY,
                               PlaceLevel.SAME_ZIP: PlaceLevel.DIFFERENT_CITY}),
    ),
    Change("street", PLACES, without_value("street_level")),
    Change("similar street", PLACES, merged("street_level", {StreetLevel.SIMILAR: StreetLevel.DIFFERENT})),
    Change("word families", WORDS, without_lines("word_families.txt")),
    Change("abbreviations", WORDS, without_lines("abbreviations.txt")),
    Change("legal forms", WORDS, without_lines("legal_forms.txt")),
    Change("name markers (DBA)", WORDS, without_lines("name_markers.txt")),
    Change("numbers in words", WORDS, without_lines("sibling_words.txt", keep=lambda line: "number" not in line)),
    Change("candidates by address", BLOCKING, constant("same_place.MAX_COMPANIES", 0)),
    Change("partly equal names in one town", WEIGHTS, constant("weights.PARTIAL_TOWN_BITS", 0.0), False),
    Change("limit by namesakes", WEIGHTS, constant("weights.COINCIDENT_NAMESAKES", 1e-9), False),
    Change("counted namesakes", WEIGHTS, constant("weights.NAMESAKE_RATE", 1e-9), False),
    Change("typo beside an equal name in town", WEIGHTS, constant("weights.EQUAL_NAME_IN_TOWN_BITS", 0.0), False),
    Change("similar names without a place", WEIGHTS, constant("weight_sql._RARE_PLACELESS_BITS", -1e9), False),
    Change("weights from all candidates (EM)", WEIGHTS, constant("estimation.MAX_ROUNDS", 0), False),
    Change("organisations of several rows", DECISIONS, wrapped("results.organisations", "_clusters", _apart), False),
    Change("unseen partner", DECISIONS, constant("decisions.UNSEEN_PARTNER_SHARE", 0.0), False),
    Change("review of siblings", DECISIONS, constant("decisions.SIBLING_SHARE", _UNSEEN), False),
    Change("share of companies with a match (EM)", DECISIONS, constant("decisions._ROUNDS", 0), False),
)  # fmt: skip


if __name__ == "__main__":
    main()
