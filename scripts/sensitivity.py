"""Vary every constant of weights, decisions and blocking, one at a time: how much do the results depend on it?

    python -m scripts.sensitivity --data DIRECTORY

Bits (``*_BITS``) change by one, other numbers by 25%. A list of shares changes in its last level, and is normalised
again where it is used; other lists change as a whole. The constants are found by their names in the modules of
``MODULES``, so a new one cannot be missing; ``LEFT_OUT`` are no parameters of the model. Prints the mean and the worst
change of F1 and calibration error over the sets, and writes a record. Constants compiled into kernels do not vary.
"""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.tables import markdown_table
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from scripts.ablation import NOTHING, differences, points, read_cases, run, set_parser
from scripts.measuring import machine_facts, write_record
from scripts.switches import MATCHING, Apply, Change, constant

SHARE: Final = 0.25
BITS: Final = 1.0
MODULES: Final = {
    "weights": False,
    "weight_sql": False,
    "decisions": False,
    "estimation": False,
    "blocking": True,
    "same_place": True,
    "compare": True,
}
"""Modules, and whether their constants affect candidates or comparison vectors."""
LEFT_OUT: Final = frozenset(
    {"SLICE_PAIRS", "RANDOM_ROWS", "CONFIRMED_BITS", "START_PARTNER_SHARE", "WEIGHT_PER_BIT", "COMMON_SHARE"}
    | {"NO_INFORMATION", "MAX_ROUNDS", "_ROUNDS", "TOLERANCE"}
)
_SETTINGS: Final = (
    (DecisionConfig, "accept_probability", False),
    (DecisionConfig, "review_probability", False),
    (CandidateConfig, "min_name_overlap", True),
    (CandidateConfig, "max_candidates_per_name", True),
    (CandidateConfig, "max_block_size", True),
)


def main() -> None:
    """Measure all constants, print a table and write a record."""
    options = set_parser(__doc__).parse_args()
    facts = machine_facts()
    with tempfile.TemporaryDirectory(prefix="enrich-sensitivity-", dir=options.scratch) as name:
        cases = read_cases(options, Path(name))
        rows = run([*constants(), *settings()], cases, Path(name))
    write_record(options.output, "sensitivity", {**facts, "sets": [case.name for case in cases], "constants": rows})
    print(table(rows))


def constants() -> Iterator[Change]:
    """Return two changes of each constant of the matcher."""
    for module, candidates in MODULES.items():
        for name, value in vars(importlib.import_module(f"{MATCHING}.{module}")).items():
            plain = name.lstrip("_")
            if plain.isupper() and name not in LEFT_OUT and _defined_in(module, name):
                for sign, changed in variations(plain, value):
                    yield Change(f"{module}.{name} {sign}", module, constant(f"{module}.{name}", changed), candidates)


def _defined_in(module: str, name: str) -> bool:
    """Whether the constant is assigned in the module, not imported."""
    text = Path(str(importlib.import_module(f"{MATCHING}.{module}").__file__)).read_text("utf-8")
    targets = [line.partition("=")[0] for line in text.splitlines() if re.match(r"[A-Z_, ]+(: [^=]+)? = ", line)]
    return any(name in re.split(r"[, :]+", target) for target in targets)


def variations(name: str, value: object) -> list[tuple[str, object]]:
    """Return a lower and a higher value of a constant with their signs; nothing if it is neither number nor numbers."""
    bits = name.endswith("BITS")
    signs = ((f"−{BITS:g}", -1), (f"+{BITS:g}", 1)) if bits else ((f"−{SHARE:.0%}", -1), (f"+{SHARE:.0%}", 1))
    return [(text, changed) for text, sign in signs if (changed := _changed(value, sign, bits=bits)) is not None]


def _changed(value: object, sign: int, *, bits: bool) -> object | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        if bits:
            return value + sign * BITS
        changed = value * (1 + sign * SHARE)
        return round(changed) if isinstance(value, int) else changed
    if not isinstance(value, tuple) or not value or not all(isinstance(one, int | float) for one in value):
        return None
    if bits:
        return tuple(one + sign * BITS if one else one for one in value)
    if abs(sum(value) - 1) < 0.01:
        return (*value[:-1], value[-1] * (1 + sign * SHARE))
    return tuple(_changed(one, sign, bits=False) for one in value)


def settings() -> Iterator[Change]:
    """Return two changes of each setting of matching."""
    for model, name, candidates in _SETTINGS:
        default = model.model_fields[name].default
        for sign, changed in variations(name, default):
            yield Change(f"matching.{name} {sign}", "settings", _setting(model, name, changed), candidates)


def _setting(model: Any, name: str, value: object) -> Apply:
    """The change of a default setting, where the measurement creates the settings."""

    def apply(stack: ExitStack) -> None:
        from unittest.mock import patch

        import scripts.measure_accuracy

        changed = partial(model, **{name: value})
        stack.enter_context(patch.object(scripts.measure_accuracy, model.__name__, changed))

    return apply


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table: mean and largest change of F1 and calibration error over the sets, in percentage points.

    Constants without an effect on any set are listed below it.
    """
    base = rows[0]["sets"]
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for row in rows[1:]:
        name, _, sign = row["name"].rpartition(" ")
        found.setdefault(name, []).append((sign, row))
    lines: list[tuple[str, ...]] = []
    without: list[str] = []
    for name, some in found.items():
        cells = [_effect(row, base, figure) for figure in ("f1", "ece") for _, row in some]
        if all(cell == "0" for cell in cells):
            without.append(name)
        else:
            lines.append((name, " · ".join(sign for sign, _ in some), *cells))
    head = ("constant", "varied by", "F1, lower value", "F1, higher value", "ECE, lower value", "ECE, higher value")
    return f"{markdown_table(head, lines)}\n\nWithout an effect on any set: {', '.join(without) or 'none'}.\n"


def _effect(row: dict[str, Any], base: dict[str, Any], figure: str) -> str:
    """The mean change and the largest one with its set; 0 if no set changes."""
    changes = differences(row, base, figure)
    worst = max(changes, key=lambda name: abs(changes[name]))
    if abs(changes[worst]) < NOTHING:
        return "0"
    return f"{points(sum(changes.values()) / len(changes))}, {points(changes[worst])} ({worst})"


if __name__ == "__main__":
    main()
