"""A real run whose output cannot be written: it goes on, publishes, and ends with exit code 0."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.known_case import write_inputs

SCRIPT = Path(sys.executable).with_name("enrich-dist")
STREAMS = {
    "full": ('exec "$@" >/dev/full 2>/dev/full', {}),
    "closed": ('exec "$@" >&- 2>&- <&-', {}),
    "no reader": ('trap "" PIPE; { "$@"; echo $? >code; } 2>&1 | true; exit $(cat code)', {}),
    "ascii": ('exec "$@"', {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "verbose on latin-1": ('exec "$@" --verbose', {"PYTHONIOENCODING": "latin-1:strict"}),
}


@pytest.mark.cluster
@pytest.mark.long
@pytest.mark.parametrize("name", STREAMS)
def test_run_publishes_whatever_becomes_of_its_output(tmp_path: Path, name: str) -> None:
    awards, recipients = write_inputs(tmp_path)
    shell, environment = STREAMS[name]
    done = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", str(SCRIPT), "run", "--awards", str(awards), "--recipients", str(recipients),
         "--set", f"paths.work_dir={tmp_path / 'work'}", "--set", "match_rate_threshold=0.1", "--set",
         "min_estimated_precision=0", "--set", "chunk_size=10"],
        cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work" / "published" / "current" / "enriched_awards.parquet").exists()
