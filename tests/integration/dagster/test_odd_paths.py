"""A job and every command that reads it, with settings, inputs and outputs below a directory whose name is syntax."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from enrich_dist.settings import override_text
from enrich_dist.store.run_directory import RunDirectory
from tests.conftest import REPOSITORY
from tests.support.odd_paths import ODD_NAME

CASE = REPOSITORY / "tests" / "corpus" / "run-small"
COMMANDS = [
    ["status"], ["doctor"], ["plan", "--compare"],
    ["explain", "--company", "Zelmora Sensors"], ["explain", "--recipient", "r1"],
    ["report", "--out", "again.html", "--markdown", "again.md"],
    ["review", "export", "--out", "review.csv"], ["rejudge", "--publish"],
    ["runs", "ls"], ["runs", "show"], ["runs", "diff", "--awards", "changes.csv"],
    ["checkpoints", "ls"], ["checkpoints", "verify"], ["checkpoints", "gc"],
    ["runs", "space"], ["runs", "prune", "--keep", "5"],
    ["config", "validate"], ["config", "show", "--origin"], ["bench", "run", "--repeats", "1"], ["bench", "trend"],
]  # fmt: skip


@pytest.mark.long
@pytest.mark.cluster
@pytest.mark.parametrize("home", [None, "dagster home"])
def test_every_command_works_below_an_odd_directory(home: str | None, tmp_path: Path) -> None:
    top = tmp_path / ODD_NAME
    shutil.copytree(CASE, top)
    (tmp_path / "o'd\"d ").mkdir()
    folder = {name: top / name for name in ("work #?1", "check%41 points", "bench;[2]", "m?.prom", "urls '\"", "t*ls")}
    work, checkpoints, benchmarks, textfile, urls, tls = folder.values()
    urls.write_text("json://127.0.0.1:9", "utf-8")
    urls.chmod(0o600)
    settings = {
        "inputs.awards": top / "awards.csv", "inputs.recipients": top / "recipients.csv", "paths.work_dir": work,
        "paths.checkpoints": checkpoints, "paths.benchmarks": benchmarks, "monitoring.textfile": textfile,
        "notifications.urls_file": urls, "cluster.n_workers": 1, "match_rate_threshold": 0.1,
        "min_estimated_precision": 0,
    }  # fmt: skip
    # Half from a file in that directory, half from the command line.
    lines = [f"{key}: '{str(value).replace(chr(39), 2 * chr(39))}'" for key, value in list(settings.items())[:5]]
    (top / "s?[1].yaml").write_text("\n".join(lines), "utf-8")
    options = ["--config", str(top / "s?[1].yaml")]
    for key, value in list(settings.items())[5:]:
        options += ["--set", override_text(key, value)]
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    if home:
        (top / home).mkdir()
        environment["DAGSTER_HOME"] = str(top / home)

    def command(*arguments: str) -> str:
        program = "import sys; sys.argv[0] = 'enrich-dist'; from enrich_dist.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=top, env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
        return done.stdout

    command("plan", "--sample-rows", "2", *options)
    command("run", *options)
    first = RunDirectory(work).latest_farm()[0]
    shutil.rmtree(work / "results")
    command("run", *options)  # resumes from the checkpoints

    assert RunDirectory(work).latest_farm()[0] == first
    assert (work / "published" / "current" / "enriched_awards.parquet").exists()
    assert textfile.exists()
    assert {path.suffix for path in checkpoints.iterdir()} >= {".json", ".parquet"}
    assert list(benchmarks.iterdir())
    assert list((top / home / "history").iterdir() if home else (work / "dagster" / "history").iterdir())
    for arguments in COMMANDS if home is None else COMMANDS[:1]:
        command(*arguments, *options)
    command("link", "awards.csv", "recipients.csv", "--out", str(top / "l?nk[1].csv"),
            "--left-column", "id=Award Title", "--left-column", "name=Company", "--right-column", "id=recipient_hash",
            "--right-column", "name=legal_business_name")  # fmt: skip
    command("cluster", "certs", str(tls))
    assert {path.name for path in tmp_path.iterdir()} == {ODD_NAME, "o'd\"d "}, "written elsewhere"
    assert not list((tmp_path / "o'd\"d ").iterdir())
