"""Commands that documents show, and a folder to run them in.

A block counts when it is fenced as ``sh`` (commands) or ``console`` (``$ command`` with its output); in the README also
one that is indented. A comment ``<!-- not run: reason -->`` above a block takes it out. In an output "…" stands for any
text within a line, and for any lines where it is all of one.
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
    r"|(?P<indented>(?:^    [^\n]*\n(?:\n(?=    ))?)+))",
    re.MULTILINE | re.DOTALL,
)
_TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Block:
    """A block of commands; ``reason``: why it is not run, None where it is."""

    line: int
    console: bool
    text: str
    reason: str | None


def blocks(document: Path, *, indented: bool) -> list[Block]:
    """The blocks of a document, in their order; ``indented``: those without a fence, too."""
    text = document.read_text("utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        if match["kind"] or indented:
            code = textwrap.dedent(match["fenced"] if match["kind"] else match["indented"])
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(line, match["kind"] == "console", code, match["reason"]))
    return found


def exchanges(console: str) -> list[tuple[str, str]]:
    """Commands of a ``console`` block with the output that is shown of each."""
    parts = re.split(r"^\$ (.*)\n", console, flags=re.MULTILINE)
    assert parts[0] == "", "a console block begins with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def is_shown(expected: str, output: str) -> bool:
    """Whether an output is what the document shows of it."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\n]*".join(re.escape(part) for part in line.rstrip().split("…")) + r"\n"
    lines = "".join(line.rstrip() + "\n" for line in output.splitlines())
    return re.fullmatch(pattern, lines) is not None


class Folder:
    """A copy of the project to run a document's commands in, each from where the last one left it."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root = root
        for name in ("config", "data", "enrich_dist", "dagster_defs", "scripts"):
            shutil.copytree(REPOSITORY / name, root / name)
        own = {name: value for name, value in os.environ.items() if not name.startswith(("ENRICH_DIST_", "DAGSTER_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
        self._environment = {**own, "PATH": path, "PYTHONPATH": str(root), "COLUMNS": "200", **environment}
        self._code = 0

    def run(self, commands: str) -> str:
        """Run commands in one shell; returns what they print, and leaves ``code``."""
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
        """Exit code of the latest commands."""
        return self._code

    def follow(self, document: Path, *, indented: bool = False) -> list[Block]:
        """Run all blocks of a document from top to bottom; returns those that were run.

        An ``sh`` block must end with 0 in all its commands, a ``console`` block must print what it shows.
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
                        f"{where}: $ {command}\n{output}\n--- is shown as ---\n{expected}"
                    )
            else:
                output = self.run(f"set -eo pipefail\n{block.text}")
                assert self.code == 0, f"{where}: ended with {self.code}\n{block.text}\n{output}"
            done.append(block)
        return done
