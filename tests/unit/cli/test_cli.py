"""The command line: help, settings, and bad input as one line with its exit code, before work starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import enrich_dist
from tests.support.known_case import write_inputs


def error_line(finished: subprocess.CompletedProcess[str]) -> str:
    """The only line of the error; there is no traceback."""
    assert "Traceback" not in finished.stderr
    [line] = [line for line in finished.stderr.splitlines() if line.startswith("Error:")]
    return line


def test_help_imports_no_engine() -> None:
    code = (
        "import sys, contextlib; from enrich_dist.cli.main import main; sys.argv = ['enrich-dist', '--help']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print('heavy:', sorted({'dagster', 'distributed', 'pyarrow', 'duckdb', 'pydantic'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    for command in ("run", "status", "config"):
        assert command in finished.stdout
    assert "heavy: []" in finished.stdout


def test_command_imports_no_other_command() -> None:
    code = (
        "import sys, contextlib; from enrich_dist.cli.main import main\n"
        "sys.argv = ['enrich-dist', 'status', '--help']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print('commands:', sorted({'bench', 'inspect', 'run'} & {name.rpartition('.')[2] for name in sys.modules\n"
        "                          if name.startswith('enrich_dist.cli.')}))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert "commands: ['inspect']" in finished.stdout


def test_config_show_has_origins() -> None:
    finished = enrich_dist(
        "config", "show", "--origin", "--config", "config/sample.yaml", "--set", "cluster.n_workers=5",
        ENRICH_DIST_TIMEOUT_SECONDS="99",
    )  # fmt: skip
    rows = {line.split()[0]: line.strip() for line in finished.stdout.splitlines() if line.strip()}

    assert finished.returncode == 0
    assert rows["cluster.n_workers"].split(maxsplit=2)[1:] == ["5", "command line"]
    assert rows["timeout_seconds"].split(maxsplit=2)[1:] == ["99.0", "environment ENRICH_DIST_TIMEOUT_SECONDS"]
    assert rows["match_rate_threshold"].split(maxsplit=2)[1:] == ["0.3", "file config/sample.yaml"]
    assert rows["memory_threshold_mb"].split(maxsplit=2)[1:] == ["1500", "file config/base.yaml"]


def test_run_shows_overrides(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("timeout_seconds: 1800\nmatch_rate_threshold: 0.8\n", "utf-8")  # the first is the default

    finished = enrich_dist(
        "run", "--config", mine, "--work-dir", tmp_path, "--set", "chunk_size=5", ENRICH_DIST_MEMORY_THRESHOLD_MB="999",
        COLUMNS="40",  # a setting is one line of the log at any width
    )  # fmt: skip

    shown = {line for line in finished.stderr.splitlines() if line.startswith("setting ")}
    assert shown == {
        "setting chunk_size = 5 (command line)",
        "setting memory_threshold_mb = 999 (environment ENRICH_DIST_MEMORY_THRESHOLD_MB)",
        f"setting paths.work_dir = {tmp_path} (command line)",
        f"setting match_rate_threshold = 0.8 (file {mine})",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config", "show", "--set", "chunk_sise=5"], "Did you mean 'chunk_size'?"),
        (["run", "--config", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["run", "--set", "chunk_size=-1"], "chunk_size (command line): Input should be greater than or equal to 1"),
        (["run"], "inputs.awards is not set"),
        (["run", "--config", "config/sample.yaml", "--set", "memory_threshold_mb=300"], "memory_threshold_mb is 300"),
        (["run", "--awards", "missing.csv", "--recipients", "missing.parquet"], "missing.csv: "),
    ],
)
def test_bad_input_exits_with_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    extra = ["--work-dir", str(tmp_path)] if arguments[0] == "run" else []

    finished = enrich_dist(*arguments, *extra)

    assert finished.returncode == 2
    assert message in error_line(finished)


def test_missing_column_fails_early(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    other = tmp_path / "other.csv"
    other.write_text("legal_business_name,uei,city,state\nACME,,Troy,NY\n", "utf-8")

    finished = enrich_dist("run", "--work-dir", tmp_path / "work", "--awards", awards, "--recipients", other)

    assert finished.returncode == 2
    line = error_line(finished)
    assert str(other) in line
    assert "zip5" in line
    assert "inputs.recipient_columns.zip5" in line
    assert not list((tmp_path / "work").glob("awards/*"))
    assert not list((tmp_path / "work").glob("chunks/*"))
    assert recipients.exists()


def test_debug_shows_traceback() -> None:
    finished = enrich_dist("config", "show", "--debug", "--set", "chunk_sise=5")

    assert finished.returncode == 2
    assert "Traceback" in finished.stderr


def test_unknown_option_exits_with_2() -> None:
    assert enrich_dist("run", "--chunksize", "5").returncode == 2


def test_status_of_empty_directory(tmp_path: Path) -> None:
    finished = enrich_dist("status", "--set", f"paths.work_dir={tmp_path}")

    assert finished.returncode == 0
    assert "enrich-dist run" in finished.stdout


def test_unusable_directory_is_one_line(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    (tmp_path / "file").write_text("not a directory", "utf-8")

    finished = enrich_dist("run", "--work-dir", tmp_path / "file", "--awards", awards, "--recipients", recipients)

    assert finished.returncode == 2
    assert f"{tmp_path / 'file'} is not a directory" in error_line(finished)


def test_quick_exit_flushes_and_calls_handlers() -> None:
    code = (
        "import atexit, sys\n"
        "from enrich_dist.cli import command, main\n"
        "def run():\n"
        "    atexit.register(sys.stdout.write, 'at the end')\n"
        "    sys.stdout.write('last words, ')\n"
        "    sys.exit(3)\n"
        "main.main = run\n"
        "command.command()\n"
    )

    # Buffered output, as by default.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "last words, at the end", "")
