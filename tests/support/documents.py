"""Parse the commands of a document and run them in a copy of the project.

Blocks are fenced as ``sh`` (commands) or ``console`` (``$ command`` with its output); in the README also indented. The
comment ``<!-- not run: reason -->`` above a block excludes it. In an output, "…" matches any text within a line, or any
lines if it is the whole line.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n\n?)?"
    r"(?:(?P<indent> *)```(?P<kind>sh|console)\n(?P<fenced>.*?)^(?P=indent)```$"
    r"|(?: *```\w+\n.*?^ *```$)"  # of another language
    r"|(?P<indented>(?:^    [^\n]*\n(?:\n(?=    ))?)+))",
    re.MULTILINE | re.DOTALL,
)
_TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Block:
    """A block of commands. ``reason``: why it is not run, or None."""

    line: int
    console: bool
    text: str
    reason: str | None


def blocks(document: Path, *, indented: bool) -> list[Block]:
    """Return the blocks of a document in order. ``indented``: also blocks without a fence."""
    text = document.read_text("utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        if match["kind"] or (indented and match["indented"]):
            code = textwrap.dedent(match["fenced"] if match["kind"] else match["indented"])
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(line, match["kind"] == "console", code, match["reason"]))
    return found


def exchanges(console: str) -> list[tuple[str, str]]:
    """Return the commands of a ``console`` block, each with the output in the document."""
    parts = re.split(r"^\$ (.*)\n", console, flags=re.MULTILINE)
    assert parts[0] == "", "a console block starts with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def is_shown(expected: str, output: str) -> bool:
    """Return whether an output matches the document."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\n]*".join(re.escape(part) for part in line.rstrip().split("…")) + r"\n"
    lines = "".join(line.rstrip() + "\n" for line in output.splitlines())
    return re.fullmatch(pattern, lines) is not None


class Folder:
    """A copy of the project in which the commands of a document run one after the other."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root = root
        for name in ("config", "data", "enrich_dist", "dagster_defs", "scripts"):
            shutil.copytree(REPOSITORY / name, root / name)
        own = {name: value for name, value in os.environ.items() if not name.startswith(("ENRICH_DIST_", "DAGSTER_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
        self._environment = {**own, "PATH": path, "PYTHONPATH": str(root), "COLUMNS": "200", **environment}
        self._code = 0
        self._saved = root.with_name("saved")

    def save(self) -> None:
        """Keep the present state for ``restore``."""
        shutil.copytree(self.root, self._saved, symlinks=True)

    def restore(self) -> None:
        """Return to the saved state; paths stay the same."""
        shutil.rmtree(self.root)
        shutil.copytree(self._saved, self.root, symlinks=True)
        self._code = 0

    def run(self, commands: str) -> str:
        """Run commands in one shell, set ``code`` and return their output."""
        ended = subprocess.run(
            ["bash", "-c", f"(exit {self._code})\n{commands}"],
            cwd=self.root,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        self._code = ended.returncode
        return ended.stdout

    @property
    def code(self) -> int:
        """Exit code of the last commands."""
        return self._code

    def follow(self, document: Path, *, indented: bool = False) -> list[Block]:
        """Run the blocks of a document in order and return those that ran.

        All commands of an ``sh`` block must succeed; a ``console`` block must print the output of the document.
        """
        done = []
        for block in blocks(document, indented=indented):
            if block.reason is not None:
                continue
            where = f"{document.name}:{block.line}"
            if block.console:
                for command, expected in exchanges(block.text):
                    output = self.run(command)
                    assert is_shown(expected, output), (
                        f"{where}: $ {command}\n{output}\n--- in the document ---\n{expected}"
                    )
            else:
                output = self.run(f"set -eo pipefail\n{block.text}")
                assert self.code == 0, f"{where}: ended with {self.code}\n{block.text}\n{output}"
            done.append(block)
        return done
