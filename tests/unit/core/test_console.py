"""Printing: never the reason of an exit code, and never a way for text from outside to control a terminal."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from enrich_dist.cli.options import print_json
from enrich_dist.core import json_documents
from enrich_dist.core.console import PlainConsole, open_stream
from enrich_dist.core.json_documents import JsonLinesLog
from enrich_dist.core.tables import make_table
from enrich_dist.errors import SettingsError, SourceError
from enrich_dist.events import Event, Notice, listening
from enrich_dist.reporting.terminal import rich_table
from tests.conftest import REPOSITORY
from tests.support.hostile_text import HOSTILE_TEXTS, hostile_text
from tests.support.review_case import CommandLine

SCRIPT = Path(sys.executable).with_name("enrich-dist")
FAILING: list[str] = ["config", "show", "--config", "Zoë.yaml"]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def run(arguments: list[str], cwd: Path, redirect: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the console script by a shell, with redirected streams."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", str(SCRIPT), *arguments],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


# --- the exit code ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "redirect", "code"),
    [
        (["--help"], ">/dev/full 2>/dev/full", 0),
        (["config", "show"], ">&- 2>&- <&-", 0),
        (["status"], ">/dev/full 2>&-", 0),
        (FAILING, ">/dev/full 2>/dev/full", 2),
    ],
    ids=str,
)
def test_exit_code_without_output(tmp_path: Path, arguments: list[str], redirect: str, code: int) -> None:
    assert run(arguments, tmp_path, redirect).returncode == code


def test_exit_code_with_closed_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for arguments, code in ((["config", "show"], 0), (FAILING, 2)):
        done = subprocess.run(
            [str(SCRIPT), *arguments], cwd=tmp_path, stdout=writer, stderr=writer, timeout=60, check=False
        )
        assert done.returncode == code
    os.close(writer)


@pytest.mark.parametrize(
    ("environment", "encoding"),
    [
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "ascii"),
        ({"PYTHONIOENCODING": "latin-1:strict"}, "latin-1"),
    ],
    ids=str,
)
def test_every_encoding_can_be_printed(tmp_path: Path, environment: dict[str, str], encoding: str) -> None:
    (tmp_path / "settings.yaml").write_text("inputs:\n  awards: Zoë株.csv\n", "utf-8")
    done = run(["config", "show", "--config", "settings.yaml"], tmp_path, **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "\\u" in done.stdout.decode(encoding)
    failed = run(FAILING, tmp_path, **environment)
    assert failed.returncode == 2
    assert failed.stderr.startswith(b"Error: The settings file Zo")


def test_slow_reader_gets_all(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    code = "from enrich_dist.core.console import open_stream; open_stream(1, None).write('x' * 300_000)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=writer, cwd=REPOSITORY)
    os.close(writer)
    with open(reader, "rb") as stream:  # noqa: PTH123
        assert len(stream.read()) == 300_000
    assert process.wait(60) == 0


def test_log_on_full_disk_ends_with_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Event] = []
    with monkeypatch.context() as patch, listening(heard.append):
        patch.setattr(json_documents, "open_new_log", lambda path: path.open("w", buffering=1))
        with JsonLinesLog(Path("/dev/full")) as log:
            log.write({"a": 1})
            log.write({"b": 2})
    assert [type(event) for event in heard] == [Notice]
    assert "No space left" in str(heard[0])

    with listening(heard.append), JsonLinesLog(Path("/dev/null/none")) as log:
        log.write({"a": 1})
    assert len(heard) == 2


# --- the terminal ----------------------------------------------------------------------------------------------


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(show: Callable[[PlainConsole], None], *, terminal: bool = False) -> str:
    """Return what a console writes."""
    file = _Terminal() if terminal else io.StringIO()
    show(PlainConsole(file=file))
    return file.getvalue()


def assert_harmless(shown: str) -> None:
    """No character that a terminal does not simply show."""
    bad = {char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char != "\n"}
    assert not bad


@given(hostile_text())
def test_console_prints_outside_text_as_text(name: str) -> None:
    table = Table("a", name)
    table.add_row(name, Text(name, "bold"))
    ours = make_table(("head", name), [(name, 1)])
    for show in (
        lambda console: console.print(name),
        lambda console: console.print(f"Links  {name}", name, sep="\n"),
        lambda console: console.print(Panel(name, title=name)),
        lambda console: console.print(table),
        lambda console: console.print(rich_table(ours, {name: "red"})),
    ):
        assert_harmless(printed(show))
    assert printed(lambda console: console.print(name)).count("\n") == 1, "one line"


def test_markup_stays_text() -> None:
    for text in ("[bold]x[/]", "[link=http://a.b]x[/link]", ":smile: 'a' 10 True", "[/]", "\\[a]"):
        assert printed(lambda console, text=text: console.print(text), terminal=True) == text + "\n"


def test_own_styles_reach_the_terminal() -> None:
    shown = printed(lambda console: console.print(Text.assemble(("a\x1b[2J", "bold"), "b")), terminal=True)
    assert "\x1b[1m" in shown
    assert "\x1b[2J" not in shown
    assert "\\x1b[2J" in shown


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_other_writers_to_a_stream_are_escaped(tmp_path: Path, text: str) -> None:
    path = tmp_path / "out"
    with path.open("wb") as file:
        stream = open_stream(file.fileno(), None)
        print(text, file=stream)  # a library's log, a traceback
        PlainConsole(file=stream).print(Text(text))
        stream.flush()
    shown = path.read_text("utf-8")
    assert_harmless(shown.replace("\t", ""))


@given(hostile_text())
def test_json_is_ascii_and_exact(text: str) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        print_json({text: [text]})
    assert out.getvalue().isascii()
    assert_harmless(out.getvalue())
    assert json.loads(out.getvalue()) == {text: [text]}


# --- messages --------------------------------------------------------------------------------------------------


@given(hostile_text())
def test_messages_are_printable(text: str) -> None:
    errors = [
        SettingsError(f"'{text}'", remedy=text),
        SourceError(text, path=Path("/x") / text.replace("\0", ""), column=text, remedy=text),
    ]
    assert all(str(error).isprintable() for error in errors)
    assert Notice(text).message.isprintable()
    several = str(SettingsError("a", details=["x" + text] * 2, remedy="x" + text))
    assert len(several.splitlines()) == 4


@pytest.mark.parametrize("text", [text for text in HOSTILE_TEXTS if "\0" not in text])
def test_arguments_are_printed_as_text(cli: CommandLine, text: str) -> None:
    for arguments in (
        ["config", "show", "--config", text],
        ["--" + text],
        ["runs", "ls", "--work-dir", f"/none/{text}"],
    ):
        _, out, err = cli(*arguments)
        assert_harmless(out + err)


# --- nothing else prints ---------------------------------------------------------------------------------------


def test_only_the_console_prints() -> None:
    """All output goes through ``core.console``: no other module makes a console or writes to a stream."""
    found = []
    for path in (path for room in ("enrich_dist", "dagster_defs") for path in (REPOSITORY / room).rglob("*.py")):
        if path == REPOSITORY / "enrich_dist" / "core" / "console.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.ImportFrom(module=str(module), names=names):
                    used = {f"{module}.{name.name}" for name in names} & {"rich.console.Console", "rich.print"}
                    used |= {module} & {"rich.markup"}
                case ast.Call(func=ast.Name(id="print")):
                    used = {"print"}
                case ast.Call(func=ast.Attribute(attr="echo" | "secho" | "from_markup" | "render_markup" as name)):
                    used = {name}
                case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="stdout" | "stderr"), attr="write")):
                    used = set() if path.name in ("options.py", "command.py") else {"stream.write"}
                case _:
                    continue
            found += [f"{path.relative_to(REPOSITORY)}:{node.lineno}: {name}" for name in used]
    assert found == []
