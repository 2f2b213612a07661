"""The Python API: cheap to import, and the same as the command line."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import enrich_dist
from enrich_dist.errors import PublicationBlockedError, SettingsError, StateError
from enrich_dist.settings import Settings
from tests.conftest import REPOSITORY
from tests.conftest import enrich_dist as command
from tests.support.known_case import AWARDS, settings, write_inputs

HEAVY = {"pydantic", "pyarrow", "duckdb", "dagster", "distributed", "numpy", "yaml"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the inputs of the examples."""
    write_inputs(tmp_path)
    (tmp_path / "left.csv").write_text("vendor_no,name,state\n1,Kitware Inc,NY\n2,Tamarack Imaging,MN\n3,Nobody,TX\n")
    (tmp_path / "right.csv").write_text("id,name,state\na,KITWARE,NY\nb,TAMARACK IMAGING LLC,MN\nc,OTHER ONE,TX\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def examples(function: Callable[..., object]) -> None:
    """Run the examples of the docstring."""
    [test] = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
    assert test.examples
    results = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test)
    assert results.failed == 0


def test_package_imports_lazily() -> None:
    code = (
        "import sys, enrich_dist\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))\n"
        "assert set(enrich_dist.__all__) <= set(dir(enrich_dist))\n"
        "enrich_dist.run, enrich_dist.link, enrich_dist.plan, enrich_dist.open_run\n"
        "print(sorted({'dagster', 'dagster_defs', 'distributed', 'pyarrow', 'duckdb'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.splitlines() == ["[]", "[]"]
    assert set(enrich_dist.__all__) == {"__version__", "Run", "run", "link", "plan", "open_run"}
    for name in enrich_dist.__all__:
        assert f"``{name}``" in str(enrich_dist.__doc__) or name in ("Run", "__version__")
    with pytest.raises(AttributeError, match="has no attribute 'runn'"):
        _ = enrich_dist.runn  # type: ignore[attr-defined]


def test_modules_do_not_shadow_functions() -> None:
    import enrich_dist.api
    import enrich_dist.pipeline.linking
    import enrich_dist.planning.run_plan
    import enrich_dist.runs

    for name in ("run", "link", "plan", "open_run"):
        assert getattr(enrich_dist, name) is getattr(enrich_dist.api, name)


def test_examples_of_link_and_plan(folder: Path) -> None:
    examples(enrich_dist.link)
    examples(enrich_dist.plan)

    assert (folder / "links.csv").read_text().count("matched") == 2


def test_open_run_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        enrich_dist.open_run(tmp_path)


def test_bad_settings_are_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match="Did you mean 'chunk_size'"):
        enrich_dist.run(settings={"chunk_sise": 5})
    with pytest.raises(SettingsError, match=r"inputs\.awards is not set"):
        enrich_dist.run(settings={"paths.work_dir": folder / "work"})

    assert not (folder / "work").exists()


@pytest.mark.long
def test_settings_object_ignores_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENRICH_DIST_CHUNK_SIZE", "3")  # an object is complete, including its defaults

    whole = enrich_dist.plan(Settings(**settings(folder).model_dump(exclude={"chunk_size"})))
    assert whole.prediction.chunk_size == 50_000
    few = enrich_dist.plan(settings(folder), {"chunk_size": 7}, sample_rows=5, workers=3)
    assert (few.prediction.chunk_size, few.sample.rows, few.prediction.cluster.workers) == (7, 5, 3)
    with pytest.raises(SettingsError, match="sample_rows"):
        enrich_dist.plan(settings(folder), sample_rows=0)

    monkeypatch.setenv("ENRICH_DIST_INPUTS__AWARD_COLUMNS", '{"state": "Province"}')
    with pytest.raises(SettingsError, match="leave unset"):
        enrich_dist.plan(settings(folder))


@pytest.mark.long
@pytest.mark.cluster
def test_examples_of_run(folder: Path) -> None:
    examples(enrich_dist.run)
    examples(enrich_dist.open_run)
    done = enrich_dist.open_run("work")

    assert done.awards().num_rows == len(AWARDS)
    assert done.match_rate == pytest.approx(done.metrics["awards"]["matched"] / len(AWARDS), abs=1e-6)
    assert done.report.is_file()
    assert done.settings["match_rate_threshold"].origin == "command line"
    # It is in Dagster's history, and the command reuses all of it.
    arguments = ["--work-dir", folder / "work", "--awards", "awards.csv", "--recipients", "recipients.parquet"]
    again = command("run", *arguments, "--set", "match_rate_threshold=0.5", cwd=folder)
    assert again.returncode == 0
    assert "reused" in again.stdout
    assert command("runs", "ls", "--set", "paths.work_dir=work", cwd=folder).stdout.count("published") >= 1

    with pytest.raises(PublicationBlockedError, match="quality gate"):
        enrich_dist.run(settings=dict(
            {"inputs": {"awards": "awards.csv", "recipients": "recipients.parquet"}}, **{"match_rate_threshold": 0.99}
        ))  # fmt: skip
    blocked = enrich_dist.open_run("work")
    assert (blocked.status, blocked.verdict["status"]) == ("blocked", "blocked")


@pytest.mark.cluster
def test_example_of_readme(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text("utf-8"), flags=re.DOTALL)
    monkeypatch.setenv("ENRICH_DIST_MATCH_RATE_THRESHOLD", "0.5")  # a third of the known case has no partner
    space: dict[str, object] = {"__name__": "__main__"}

    exec(code, space)

    assert space["awards"].num_rows == len(AWARDS)  # type: ignore[attr-defined]
