"""Names from users' files and settings reach SQL as names, and nothing from disk is unpickled."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from enrich_dist.matching import arrays
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.pipeline.linking import link
from enrich_dist.results.lookup import find_company
from enrich_dist.results.reopen import reopen_result
from enrich_dist.store.run_directory import Output
from tests.conftest import REPOSITORY
from tests.support.in_process import run_in_process
from tests.support.known_case import AWARDS, settings, write_inputs

HOSTILE = [
    'a"b',
    "a'b",
    "x; drop table awards; --",
    "two\nlines",
    "select",
    "*",
    "a.b",
    "{braces}%s ?",
    "$1",
    "\\",
    "/* comment",
    "tab\there",
    "ünï\u202ecode",
]
HARMFUL_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "torch", "jsonpickle"}
HARMFUL_CALLS = {"read_pickle", "to_pickle", "unsafe_load", "full_load", "eval", "exec"}


def write_hostile(folder: Path) -> tuple[Path, Path]:
    """The known case with a hostile column after the others for each name, and hostile headers for known ones."""
    awards, recipients = write_inputs(folder)
    with awards.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))
    place = rows[0].index("Company")
    rows[0][place] = 'Com"pa;ny\'s\n"name"'
    with awards.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        for number, row in enumerate(rows):
            writer.writerow(row + (HOSTILE if number == 0 else [f"value {n}" for n in range(len(HOSTILE))]))
    table = pq.read_table(recipients)
    names = ['ke"y; --' if name == "recipient_hash" else name for name in table.column_names]
    assert names != table.column_names
    for name in HOSTILE:
        table = table.append_column(name, pa.array(["x"] * len(table)))
    pq.write_table(table.rename_columns([*names, *HOSTILE]), recipients)
    return awards, recipients


def test_hostile_columns_change_nothing(tmp_path: Path) -> None:
    plain = run_in_process(settings(tmp_path / "plain"))
    folder = tmp_path / "it's; drop -- {x} $1%s"
    run = settings(folder, inputs=write_hostile(folder / "inputs"))
    inputs = run.inputs.model_copy(
        update={
            "award_columns": {"company": 'Com"pa;ny\'s\n"name"'},
            "recipient_columns": {"recipient_id": 'ke"y; --'},
        }
    )

    hostile = run_in_process(run.model_copy(update={"inputs": inputs}))

    expected, found = (
        pq.read_table(pipeline.directory.output(Output.RESULT) / "enriched_awards.parquet")
        for pipeline in (plain, hostile)
    )
    assert len(found) == len(AWARDS)
    # The id of an award is the digest of its whole row, and that has more cells.
    same = [name for name in expected.column_names if name != "award_id"]
    assert found.select(same).equals(expected.select(same))
    further = [name for name in found.column_names if name not in expected.column_names]
    assert len(further) == len(HOSTILE)
    assert found[further[3]].to_pylist() == ["value 3"] * len(AWARDS)
    with duckdb.connect(
        str(hostile.directory.output(Output.RESULT) / "enrich_dist.duckdb"), read_only=True
    ) as database:
        assert database.sql("from enriched_awards").to_arrow_table().equals(found)
    with reopen_result(hostile.directory) as scored:
        assert find_company(scored, "Kitware & Sons, Inc.") is not None


def test_hostile_columns_can_be_linked(tmp_path: Path) -> None:
    for side in ("left", "right"):
        table = pa.table({'i"d; --': [f"{side}-1"], "na'me\n": ["Acme Robotics Incorporated"], 'x"; drop': ["x"]})
        pa.csv.write_csv(table, tmp_path / f"{side}.csv")
    columns = {"id": 'i"d; --', "name": "na'me\n"}

    link(tmp_path / "left.csv", tmp_path / "right.csv", tmp_path / "li'nks.csv", left_columns=columns,
         right_columns=columns, candidates=CandidateConfig(), decision=DecisionConfig(), with_review=True)  # fmt: skip

    [row] = pa.csv.read_csv(tmp_path / "li'nks.csv").to_pylist()
    assert (row["left_id"], row["right_id"]) == ("left-1", "right-1")


def test_no_code_runs_on_read() -> None:
    found = []
    for path in (
        path
        for room in ("enrich_dist", "dagster_defs", "scripts")
        for path in sorted((REPOSITORY / room).rglob("*.py"))
    ):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Import(names=names):
                    used = {name.name.split(".")[0] for name in names} & HARMFUL_MODULES
                case ast.ImportFrom(module=str(module)):
                    used = {module.split(".")[0]} & HARMFUL_MODULES
                case ast.Call(func=ast.Attribute(attr=called) | ast.Name(id=called), keywords=keywords):
                    used = {called} & HARMFUL_CALLS
                    if isinstance(node.func, ast.Attribute) and called == "load" and _root(node.func) == "yaml":
                        used |= {"yaml.load"}
                    used |= {word.arg for word in keywords if word.arg == "allow_pickle"}
                case _:
                    continue
            found += [f"{path.relative_to(REPOSITORY)}:{node.lineno}: {name}" for name in used]
    assert found == []


def _root(node: ast.Attribute) -> str | None:
    return node.value.id if isinstance(node.value, ast.Name) else None


@pytest.mark.parametrize("length", [1, 1_000])
def test_array_file_with_pickle_is_refused(tmp_path: Path, length: int) -> None:
    ran = tmp_path / "ran"

    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (ran,)

    np.save(tmp_path / "array.npy", np.array([Harm()] * length, dtype=object), allow_pickle=True)

    with pytest.raises(ValueError, match=r"(?i)pickle|object"):
        arrays.load(tmp_path / "array.npy")
    assert not ran.exists()
