"""Run console scripts in a pseudo terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

COLUMNS, ROWS = 100, 45


def run_in_terminal(command: list[str], cwd: Path, *, exit_code: int) -> str:
    """Run a console script of this environment in a pseudo terminal, and return its output."""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (ROWS, COLUMNS))
    hidden = ("ENRICH_DIST_", "DAGSTER_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    program = Path(sys.executable).with_name(command[0])
    process = subprocess.Popen(
        [str(program), *command[1:]],
        cwd=cwd,
        env={**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    printed = bytearray()
    try:
        while part := os.read(outer, 65536):
            printed += part
    except OSError:
        pass  # a closed pseudo terminal on Linux
    finally:
        os.close(outer)
    text = printed.decode()
    if process.wait() != exit_code:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}, expected {exit_code}:\n{text}")
    return text


def final_screen(printed: str) -> str:
    """Return the final screen with its colours, after the cursor movements of rich's live display."""
    lines, row = [""], 0
    for token in re.split(r"(\r\n|\r|\n|\x1b\[\d*[AK]|\x1b\[\?\d+[hl])", printed):
        if token in ("\r\n", "\n"):
            row += 1
            lines += [""] * (row == len(lines))
        elif token == "\r" or re.fullmatch(r"\x1b\[\d*K", token):
            lines[row] = ""
        elif up := re.fullmatch(r"\x1b\[(\d*)A", token):
            row = max(0, row - int(up[1] or 1))
        elif not re.fullmatch(r"\x1b\[\?\d+[hl]", token):
            lines[row] += token
    return "\n".join(lines).rstrip()
