"""Plant sampled faults in the code, and count those that the quick unit tests find (``make mutants``).

    python -m scripts.mutants reach             record which test calls which function
    python -m scripts.mutants run --sample 240  plant the faults, write reports/reliability/mutants.json

The faults are those of cosmic-ray (comparisons, arithmetic, conditions, numbers, loops, exceptions) and swaps in the
SQL of a string. The sample is the same for the same code: the faults with the smallest digests of module, function,
kind and occurrence. ``reach`` runs in the environment of the tests, ``run`` in that of cosmic-ray, on a copy of the
repository. A test that takes longer than ``QUICK_SECONDS`` does not count. Does not cover integration tests, so a
fault that survives here may still be found there.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
REACH: Final = ROOT / "work" / "mutants" / "reach.json"
RECORD: Final = ROOT / "reports" / "reliability" / "mutants.json"
PACKAGES: Final = ("enrich_dist/results", "enrich_dist/farm", "enrich_dist/store", "enrich_dist/matching/decisions.py")
TESTS: Final = ("tests/unit/results", "tests/unit/farm", "tests/unit/store", "tests/unit/matching/test_weights.py",
    "tests/unit/matching/test_siblings.py", "tests/unit/runs", "tests/unit/progress", "tests/unit/reporting",
    "tests/unit/pipeline/test_rejudge.py")  # fmt: skip
QUICK_SECONDS: Final = 10.0
TESTS_SECONDS: Final = 15.0  # of the tests of one fault, the quickest first
TIMEOUT_SECONDS: Final = 240.0
# Without bit operators, which annotations and unions of documents use.
_COMPARISONS = ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt",
    "Is_IsNot", "IsNot_Is")  # fmt: skip
_ARITHMETIC = ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul")
KINDS: Final = (
    *(f"core/ReplaceComparisonOperator_{name}" for name in _COMPARISONS),
    *(f"core/ReplaceBinaryOperator_{name}" for name in _ARITHMETIC),
    "core/AddNot", "core/ReplaceAndWithOr", "core/ReplaceOrWithAnd", "core/ReplaceUnaryOperator_Delete_Not",
    "core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue", "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak", "core/ExceptionReplacer", "core/NumberReplacer", "core/ZeroIterationForLoop",
)  # fmt: skip
SQL: Final = (
    (" desc", " asc"), ("max(", "min("), ("min(", "max("), ("sum(", "max("), ("count(*)", "1"), (" and ", " or "),
    (" or ", " and "), (" < ", " <= "), (" > ", " >= "), (" <= ", " < "), (" >= ", " > "), (" = ", " <> "),
    (" + ", " - "), (" - ", " + "), (" * ", " + "), (" / ", " * "), (" is not null", " is null"), ("left join", "join"),
    (" not in ", " in "), ("distinct ", ""),
)  # fmt: skip


def pytest_runtest_protocol(item: Any) -> None:
    """Note from here on the calls of this test (as a pytest plugin: ``-p scripts.mutants``)."""
    called: set[tuple[str, int]] = set()

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    _notes[item.nodeid] = (called, time.perf_counter())
    threading.setprofile(note)
    sys.setprofile(note)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Keep the calls into the packages, and the seconds."""
    sys.setprofile(None)
    threading.setprofile(None)
    called, began = _notes.pop(nodeid)
    inside = {(str(Path(file).relative_to(ROOT)), line) for file, line in list(called) if file.startswith(str(ROOT))}
    functions = sorted(f"{file}:{line}" for file, line in inside if file.startswith(PACKAGES))
    _reach[nodeid] = {"seconds": round(time.perf_counter() - began, 2), "functions": functions}


def pytest_sessionfinish() -> None:
    """Write what was noted."""
    REACH.parent.mkdir(parents=True, exist_ok=True)
    REACH.write_text(json.dumps(_reach), "utf-8")


_notes: dict[str, tuple[set[tuple[str, int]], float]] = {}
_reach: dict[str, Any] = {}


def sql_swaps() -> Any:
    """Return the operator that swaps one word or sign in the SQL of a string."""
    from cosmic_ray.operators.operator import Operator

    class SqlSwap(Operator):  # type: ignore[misc]  # it has no types
        def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
            if node.type in ("string", "fstring_string") and _is_sql(node):
                yield from ((node.start_pos, node.end_pos) for old, _ in SQL for _ in range(node.value.count(old)))

        def mutate(self, node: Any, index: int) -> Any:
            sites = [(old, new, number) for old, new in SQL for number in range(node.value.count(old))]
            old, new, number = sites[index]
            parts = node.value.split(old)
            node.value = old.join(parts[: number + 1]) + new + old.join(parts[number + 1 :])
            return node

        @classmethod
        def examples(cls) -> tuple[()]:
            return ()

    return SqlSwap()


def _is_sql(node: Any) -> bool:
    whole = node if node.type == "string" else node.parent
    is_docstring = whole.parent.type == "simple_stmt"
    return not is_docstring and any(word in whole.get_code().lower() for word in ("select ", "order by", "case when"))


@cache
def operators() -> dict[str, Any]:
    """Return the kinds of faults by name."""
    import parso.python.tree  # noqa: F401  # before cosmic_ray, which otherwise imports it halfway
    from cosmic_ray.plugins import get_operator

    return {**{name: get_operator(name)() for name in KINDS}, "sql": sql_swaps()}


def faults() -> list[dict[str, Any]]:
    """Return all faults, ordered by digest."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path

    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).glob("*.py")) or [ROOT / package]:
            file = str(path.relative_to(ROOT))
            nodes = list(ast_nodes(get_ast_from_path(path)))
            functions = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if hasattr(node, "body")]
            for kind, operator in operators().items():
                lines = [start[0] for node in nodes for start, _ in operator.mutation_positions(node)]
                for occurrence, line in enumerate(lines):
                    around = [node for node in functions if isinstance(node, ast.FunctionDef)
                        and node.lineno <= line <= (node.end_lineno or 0)]  # fmt: skip
                    inner = max(around, key=lambda node: node.lineno, default=None)
                    first = min([inner.lineno, *(item.lineno for item in inner.decorator_list)]) if inner else 0
                    key = f"{file}:{inner.name if inner else ''}:{kind}:{occurrence}"
                    digest = hashlib.blake2b(key.encode()).hexdigest()
                    found.append({"file": file, "line": line, "function": first, "kind": kind,
                        "occurrence": occurrence, "digest": digest})  # fmt: skip
    return sorted(found, key=lambda fault: str(fault["digest"]))


def tests_of(fault: dict[str, Any], reach: dict[str, Any]) -> list[str]:
    """Return the quick tests that call the function (of a line outside any: a function of the file), quickest first."""
    place = f"{fault['file']}:" + (str(fault["function"]) if fault["function"] else "")
    found, total = [], 0.0
    for test, item in sorted(reach.items(), key=lambda pair: (pair[1]["seconds"], pair[0])):
        calls = place in item["functions"] if fault["function"] else any(f.startswith(place) for f in item["functions"])
        total += item["seconds"] if calls else 0.0
        if calls and item["seconds"] <= QUICK_SECONDS and total <= TESTS_SECONDS:
            found.append(test)
    return found


def run(sample: int, python: str, deadline: float) -> None:
    """Plant the sampled faults one after the other; write the record after each."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.testing import run_tests

    reach, everything = json.loads(REACH.read_text("utf-8")), faults()
    done: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        compiled = [str(path.relative_to(ROOT)) for path in (ROOT / "enrich_dist").rglob("*.nb?")]
        for name in [*listed.splitlines(), *compiled]:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)

        def test(names: list[str]) -> str:
            command = ["env", "-C", str(copy), f"PYTHONPATH={copy}", python, "-m", "pytest", "-qx"]
            result, output = run_tests(shlex.join([*command, "-p", "no:cacheprovider", *names]), TIMEOUT_SECONDS)
            return "timeout" if output == "timeout" else str(result.value)

        chosen = everything[:sample]
        control = sorted({name for fault in chosen[:20] for name in tests_of(fault, reach)})
        if test(control) != "survived":
            raise SystemExit("The tests fail without a fault.")
        for fault in chosen:
            if time.monotonic() > deadline:
                break
            path, tests = copy / fault["file"], tests_of(fault, reach)
            original = path.read_text("utf-8")
            mutant = mutate_code(original, operators()[fault["kind"]], fault["occurrence"])
            outcome, changed = "not reached", ""
            if tests and mutant is not None:
                pairs = zip(original.splitlines(), mutant.splitlines(), strict=False)
                changed = next((new.strip() for old, new in pairs if old != new), "")
                path.write_text(mutant, "utf-8")
                outcome = test(tests)
                path.write_text(original, "utf-8")
            keep = {key: fault[key] for key in ("file", "line", "kind")}
            done.append({**keep, "changed": changed, "tests": len(tests), "outcome": outcome})
            counts = Counter(item["outcome"] for item in done)
            print(f"{len(done)} {outcome:12} {fault['file']}:{fault['line']} {changed}", flush=True)
            document = {"faults": len(everything), "sample": len(done), "outcomes": dict(counts), "mutants": done}
            RECORD.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def main() -> None:
    """Run the step that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("reach", "run"))
    parser.add_argument("--sample", type=int, default=240, help="number of faults")
    parser.add_argument("--minutes", type=float, default=60, help="stop after this time")
    parser.add_argument("--python", default=str(ROOT / ".venv/bin/python"), help="interpreter of the tests")
    options = parser.parse_args()
    if options.step == "run":
        run(options.sample, options.python, time.monotonic() + 60 * options.minutes)
        return
    command = [options.python, "-m", "pytest", "-q", "-p", "scripts.mutants", "-p", "no:cacheprovider"]
    subprocess.run([*command, "-m", "not browser and not long and not cluster", *TESTS], cwd=ROOT, check=False)


if __name__ == "__main__":
    main()
