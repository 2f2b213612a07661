"""Output of a run: a live panel in a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import enrich_dist
from tests.support.known_case import write_inputs
from tests.support.terminal import final_screen, run_in_terminal

pytestmark = pytest.mark.cluster


def arguments(folder: Path) -> list[str]:
    awards, recipients = write_inputs(folder / "inputs")
    return [
        "run", "--work-dir", str(folder / "work"), "--awards", str(awards), "--recipients", str(recipients),
        "--chunk-size", "2", "--set", "match_rate_threshold=0.5",
    ]  # fmt: skip


@pytest.mark.long
def test_terminal_shows_live_panel(tmp_path: Path) -> None:
    printed = run_in_terminal(["enrich-dist", *arguments(tmp_path)], tmp_path, exit_code=0)

    # Dagster redirects the output of a step; the cursor codes must reach the terminal anyway.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    frames = re.findall(r"recipients +(\d+) of 54", plain)
    assert len(set(frames)) > 2
    assert "\x1b[2K" in printed
    assert "54 recipients (" not in printed  # a plain line
    assert " left" in plain
    assert re.search(r"chunks +\d+ of 28", plain)
    assert re.search(r"worker 1 +\S+ +\d+ of 1,500 MB", plain)
    assert re.search(r"projected +\d+\.\d% of awards \(\d+\.\d% to \d+\.\d%\) · threshold 50\.0%", plain)
    assert "╭─ published" in final_screen(plain)
    assert "Matching ─" not in final_screen(plain)  # the panel is gone


@pytest.mark.long
def test_pipe_shows_plain_lines(tmp_path: Path) -> None:
    done = enrich_dist(*arguments(tmp_path))

    assert done.returncode == 0, done.stderr
    assert re.search(r"of 54 recipients \(\d+\.\d%\), chunk \d+ of 28", done.stderr)
    assert "\x1b" not in done.stderr
