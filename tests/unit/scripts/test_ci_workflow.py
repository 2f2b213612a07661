"""The workflow of the hosted CI calls make targets that exist, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

WORKFLOW = REPOSITORY / ".github" / "workflows" / "ci.yml"
DOCUMENT: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))


def targets(job: dict[str, Any]) -> Iterator[str]:
    """Yield the make target of each command of a job, once per value of its matrix."""
    for step in job["steps"]:
        if "run" in step:
            found = re.fullmatch(r"make (\S+|\$\{\{ matrix\.target \}\})", step["run"])
            assert found, f"not a make target: {step['run']}"
            yield from job["strategy"]["matrix"]["target"] if "matrix.target" in found[1] else [found[1]]


def test_each_command_is_a_make_target() -> None:
    called = {target for job in DOCUMENT["jobs"].values() for target in targets(job)}

    assert {"lint", "types", "test", "docs", "test-long", "bench-ci"} <= called
    defined = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert called <= defined
    if shutil.which("make"):
        subprocess.run(["make", "--dry-run", *sorted(called)], cwd=REPOSITORY, check=True, capture_output=True)


def test_tests_run_on_every_supported_python() -> None:
    assert DOCUMENT["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]


def test_long_tests_and_benchmark_run_every_night() -> None:
    # YAML reads the key `on` as true.
    assert DOCUMENT[True]["schedule"]
    nightly = DOCUMENT["jobs"]["nightly"]
    assert "schedule" in nightly["if"]
    assert {"test-long", "bench-ci"} <= set(targets(nightly))


@pytest.mark.parametrize("job", DOCUMENT["jobs"])
def test_actions_are_pinned_and_jobs_have_a_timeout(job: str) -> None:
    found = DOCUMENT["jobs"][job]
    assert found["timeout-minutes"] > 0
    for step in found["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@(v\d+|[0-9a-f]{40})", step["uses"])


def test_workflow_has_no_address() -> None:
    assert not re.search(r"://|\d+\.\d+\.\d+\.\d+|index-url", WORKFLOW.read_text("utf-8"))
    assert DOCUMENT["permissions"] == {"contents": "read"}
