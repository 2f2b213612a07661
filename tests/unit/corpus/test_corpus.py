"""Runs the corpus: one folder a case of untidy or hostile input. ``tests/corpus/README.md`` describes the cases."""

from __future__ import annotations

import runpy
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from enrich_dist.cli.main import app
from enrich_dist.errors import EnrichError
from enrich_dist.settings import load_settings
from enrich_dist.sources.awards import read_awards
from enrich_dist.sources.recipients import read_recipients
from enrich_dist.store.run_directory import Output
from tests.conftest import REPOSITORY
from tests.support.in_process import run_in_process

CORPUS = REPOSITORY / "tests" / "corpus"
CASES = sorted(path.parent.name for path in CORPUS.glob("*/case.toml"))
KEYS = {"rows", "rejects", "cells", "links", "matches", "error"}
_BATCH_ROWS = 1_000


def load(name: str) -> dict[str, Any]:
    case = tomllib.loads((CORPUS / name / "case.toml").read_text("utf-8"))
    assert case.keys() - {"inputs"} == {"origin", "commands", "expect"}
    assert case["commands"]
    assert case["expect"].keys() <= KEYS
    assert case["expect"]
    return case


@pytest.mark.parametrize("name", CASES)
def test_corpus(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = load(name)
    folder = tmp_path / "inputs"
    for source in (case.get("inputs", name), name):
        shutil.copytree(CORPUS / source, folder, dirs_exist_ok=True)
    monkeypatch.chdir(folder)
    if Path("make.py").exists():
        runpy.run_path("make.py")
    for number, command in enumerate(case["commands"]):
        check(command, case["expect"], tmp_path / f"out-{number}")


def test_origins_are_distinct() -> None:
    assert len(CASES) >= 60
    assert len({load(name)["origin"] for name in CASES}) == len(CASES)


def check(command: list[str], expect: dict[str, Any], out: Path) -> None:
    """Run one command; compare its outcome with what is expected."""
    if "error" in expect:
        with pytest.raises(EnrichError) as caught:
            outcome(command, out)
        wanted = dict(expect["error"])
        assert type(caught.value).__name__ == wanted.pop("type")
        message = str(caught.value)
        assert message.isprintable(), command  # nothing of the input controls a terminal
        for text in wanted.pop("mentions", []):
            assert text in message, command
        where = {name: getattr(caught.value, name, None) for name in wanted}
        if where.get("path"):
            where["path"] = Path(where["path"]).name
        assert where == wanted, command
        return
    found = outcome(command, out)
    if "rejects" in expect:
        rows = found["rejects"].to_pylist()
        seen = [(row["source_row"], row["column"], row["outcome"]) for row in rows]
        assert seen == [(row["row"], row.get("column"), row["outcome"]) for row in expect["rejects"]], (command, rows)
        for row, wanted in zip(rows, expect["rejects"], strict=True):
            assert wanted.get("reason", "") in row["reason"], command
            assert wanted.get("value", "") in (row["value"] or ""), command
    for cell in expect.get("cells", []):
        rows = found["table"].filter(pc.equal(found["table"]["source_row"], cell["row"])).to_pylist()
        assert [str(row[cell["column"]] or "") for row in rows] == [cell["value"]], (command, cell)
    for name in ("links", "matches"):
        wanted = expect.get(name, {})
        assert {key: found[name].get(key, "") for key in wanted} == wanted, command
    if "rows" in expect:
        assert {key: found["rows"].get(key) for key in expect["rows"]} == expect["rows"], command


def outcome(command: list[str], out: Path) -> dict[str, Any]:
    """Run a command of the corpus; return what it produced."""
    match command:
        case ["read", "awards", location, *columns]:
            read = read_awards(location, column_map(columns))
            counts = {"valid": len(read.awards), "rejected": read.rows_rejected, "read": read.rows_read}
            return {"table": read.awards, "rejects": read.rejects, "rows": counts}
        case ["read", "recipients", location, *columns]:
            batches = list(read_recipients(location, column_map(columns), batch_rows=_BATCH_ROWS))
            table = pa.concat_tables([batch.recipients for batch in batches])
            rejects = pa.concat_tables([batch.rejects for batch in batches])
            rejected = sum(batch.rows_rejected for batch in batches)
            counts = {"valid": len(table), "rejected": rejected, "read": sum(batch.rows_read for batch in batches)}
            return {"table": table, "rejects": rejects, "rows": counts}
        case ["link", *arguments] if "--out" not in arguments:
            links = out.with_suffix(".parquet")
            app(args=["link", *arguments, "--out", str(links), "--all"], standalone_mode=False)
            found = pq.read_table(links).to_pylist()
            statuses = [row["status"] for row in found]
            return {
                "links": {row["left_id"]: f"{row['right_id']} {row['status']}" for row in found},
                "rows": {status: statuses.count(status) for status in ("matched", "review")},
            }
        case ["run", *arguments]:
            return run_outcome(arguments, out)
        case _:
            app(args=list(command), standalone_mode=False)
            return {}


def run_outcome(arguments: list[str], out: Path) -> dict[str, Any]:
    """Run all steps up to the judged result in this process."""
    overrides = [f"paths.work_dir={out}"]
    for option, value in zip(arguments[::2], arguments[1::2], strict=True):
        overrides.append(value if option == "--set" else f"inputs.{option.removeprefix('--')}={value}")
    pipeline = run_in_process(load_settings(None, overrides, environ={}).settings)
    result = pipeline.directory.output(Output.RESULT)
    matches = pq.read_table(result / "company_matches.parquet").to_pylist()
    awards = pq.read_table(result / "enriched_awards.parquet")["match_status"].to_pylist()
    return {
        "matches": {row["company_name"]: f"{row['recipient_id'] or ''} {row['match_status']}" for row in matches},
        "rows": {"valid": len(awards)} | {s: awards.count(s) for s in ("matched", "review", "unmatched")},
    }


def column_map(texts: list[str]) -> dict[str, str | None]:
    """``COLUMN=HEADER`` texts as a map; an empty header means that the file has no such column."""
    return {column: header or None for column, _, header in (text.partition("=") for text in texts)}
