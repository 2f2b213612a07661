"""Every setting has a test that shows it: that changing it changes what its comment says.

The tests bear ``@pytest.mark.setting("dotted.key")`` and stand anywhere under tests/. That they would notice a setting
without effect is shown by taking the effect away (``--without-settings``, ``tests/support/neutral_settings.py``).
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from enrich_dist.settings.load import known_keys
from tests.conftest import REPOSITORY

KEYS = [key.removesuffix(".*") for key in known_keys()]
HOW = (
    "Write a test that sets {key} and sees what its comment in config/base.yaml says, and mark it "
    '@pytest.mark.setting("{key}"); tests/unit/settings/test_setting_effects.py has quick ones, without a cluster.'
)


@dataclass(frozen=True)
class Shown:
    """A marked test."""

    key: str
    test: str
    source: str
    """Of the test and of what it uses in its module."""


@cache
def shown() -> tuple[Shown, ...]:
    return tuple(item for path in sorted((REPOSITORY / "tests").rglob("test_*.py")) for item in _marked(path))


def _marked(path: Path) -> Iterator[Shown]:
    text = path.read_text("utf-8")
    if "mark.setting(" not in text:
        return
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for name, node in functions.items():
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.setting":
                assert name.startswith("test_"), f"{path}: {name} is no test"
                source = "\n".join(_sources(node, functions))
                for key in decorator.args:
                    yield Shown(ast.literal_eval(key), f"{path.relative_to(REPOSITORY)}::{name}", source)


def _sources(node: ast.stmt, functions: dict[str, ast.FunctionDef | ast.ClassDef]) -> Iterator[str]:
    """The text of a function, without its marker, and of the functions and fixtures that it names."""
    seen, waiting = set(), [node]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield "\n".join(line for line in ast.unparse(item).splitlines() if "mark.setting(" not in line)
        names = {part.id for part in ast.walk(item) if isinstance(part, ast.Name)}
        names |= {part.arg for part in ast.walk(item) if isinstance(part, ast.arg)}
        waiting += [functions[name] for name in names if name in functions]


@pytest.mark.parametrize("key", KEYS)
def test_setting_has_a_test(key: str) -> None:
    assert [item.test for item in shown() if item.key == key], "No test shows it. " + HOW.format(key=key)


def test_marker_names_a_tested_setting() -> None:
    assert {item.key for item in shown()} - set(KEYS) == set(), "no such setting"
    unset = [
        f"{item.test} does not set {item.key}"
        for item in shown()
        if not re.search(rf"\b{item.key.rpartition('.')[2]}\b", item.source)
    ]
    assert unset == []


@pytest.mark.long
def test_a_setting_without_effect_is_noticed(tmp_path: Path) -> None:
    """Each marked test that needs no workers, with its setting held at the default: of those of a setting one at least
    must fail. With workers it is the same, but what is left hung or killed would spoil the next test:
    ``pytest --without-settings`` with the name of one."""
    report = tmp_path / "report.xml"
    command = [
        sys.executable, "-m", "pytest", "-q", "-m", "setting and not cluster", "--without-settings", "-n", "0",
        "-p", "no:cacheprovider", f"--junitxml={report}", *sorted({item.test.partition("::")[0] for item in shown()}),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=1_200, check=False
    )
    cases = [
        (found.group(1), case.find("failure") is not None)
        for case in ElementTree.parse(report).iter("testcase")
        if (found := re.search(r"without:([\w.]+)", str(case.get("name"))))
    ]
    run, noticed = {key for key, _ in cases}, {key for key, failed in cases if failed}

    assert len(run) > len(KEYS) / 2, done.stdout[-3_000:]
    assert sorted(run - noticed) == [], "these settings could do nothing, and their tests would pass"
