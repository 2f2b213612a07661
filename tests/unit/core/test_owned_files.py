"""Only files that this project made are deleted, replaced or overwritten."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enrich_dist.core import owned_files
from enrich_dist.core.owned_files import begins_with, require_replaceable
from enrich_dist.errors import SettingsError
from tests.conftest import REPOSITORY

OWNER = REPOSITORY / "enrich_dist" / "core" / "owned_files.py"
CHANGING = {"unlink", "rmtree", "rmdir", "rename", "write_text", "write_bytes", "touch", "hardlink_to", "symlink_to"}
# The kernel's file that resets the peak memory; a process that imports the standard library only.
EXEMPT = {"enrich_dist/core/resource_usage.py", "enrich_dist/runs/process_tree.py"}


def changes(source: str) -> Iterator[str]:
    """Calls that delete or replace a file, or open one for writing."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        is_method = isinstance(called, ast.Attribute)
        if (is_method and name in CHANGING) or (
            # Path.replace has one argument; str.replace has two, datetime.replace has keywords.
            (is_method and name == "replace" and len(node.args) == 1 and not node.keywords)
            or (name == "open" and any(isinstance(text, str) and text and set(text) <= set("rwxabt+") and
                                       set(text) & set("wxa+") for text in texts))
            or (name in {"open", "fdopen"} and "O_WRONLY" in ast.unparse(node) and "devnull" not in ast.unparse(node))
        ):  # fmt: skip
            yield f"{node.lineno}: {ast.unparse(node)}"


def test_one_module_deletes_and_overwrites() -> None:
    found = {
        str(path.relative_to(REPOSITORY)): calls
        for package in ("enrich_dist", "dagster_defs")
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        if path != OWNER and str(path.relative_to(REPOSITORY)) not in EXEMPT
        if (calls := list(changes(path.read_text("utf-8"))))
    }

    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "path.unlink()", "path.replace(other)", "path.open('w')", "open(path, mode='ab')", "path.write_text('')",
        "os.open(path, os.O_WRONLY | os.O_CREAT)", "shutil.rmtree(path)",
    ],
)  # fmt: skip
def test_rule_finds_each_way(source: str) -> None:
    assert list(changes(source))


@pytest.mark.parametrize(
    "source", ["text.replace('a', 'b')", "now.replace(tzinfo=UTC)", "path.open('rb')", "open(path)"]
)
def test_rule_allows_what_changes_nothing(source: str) -> None:
    assert not list(changes(source))


# --- deletion --------------------------------------------------------------------------------------------------


def test_temporaries_are_recognised_by_their_whole_name(tmp_path: Path) -> None:
    ours = [owned_files.temporary_name(suffix) for suffix in ("", ".parquet")]
    others = [".tmp-notes", ".tmp-0123456789ab.parquet.bak", "x.tmp-0123456789ab", ".tmp-0123456789AB"]
    for name in (*ours, *others):
        (tmp_path / name).write_text("x", "utf-8")
    directory = tmp_path / owned_files.temporary_name()
    (directory / "inner").mkdir(parents=True)

    owned_files.remove_temporaries(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_nothing_is_deleted_through_a_link(tmp_path: Path) -> None:
    foreign, ours = tmp_path / "foreign", tmp_path / "ours"
    name = owned_files.temporary_name()
    (foreign / name / "inner").mkdir(parents=True)
    (foreign / owned_files.temporary_name()).write_text("x", "utf-8")
    ours.mkdir()
    (ours / name).symlink_to(foreign)
    (ours / "kept").symlink_to(foreign)
    (tmp_path / "link").symlink_to(foreign)

    owned_files.remove_temporaries(ours)
    owned_files.remove_temporaries(tmp_path / "link")
    owned_files.remove_files(tmp_path / "link", lambda _: True)
    owned_files.remove_file(ours / "kept")
    owned_files.remove_created(tmp_path / "link")

    assert len(list(foreign.iterdir())) == 2
    assert [path.name for path in ours.iterdir()] == ["kept"]  # the temporary link is gone, not its target


@pytest.mark.parametrize("write", [owned_files.write_new, lambda path, data: owned_files.append(path, data.decode())])
def test_nothing_is_written_through_a_link(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before", "utf-8")
    link.symlink_to(target)

    with pytest.raises(OSError):  # noqa: PT011
        write(link, b"after")
    owned_files.replace_link(link, "elsewhere")

    assert target.read_text("utf-8") == "before"
    with pytest.raises(FileExistsError):
        owned_files.replace_link(target, "elsewhere")


def test_log_replaces_a_link_not_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "log.jsonl"
    target.write_text("before", "utf-8")
    link.symlink_to(target)

    with pytest.raises(FileExistsError):
        owned_files.open_new_log(link)

    assert target.read_text("utf-8") == "before"


# --- outputs that users name -----------------------------------------------------------------------------------


def make(path: Path, kind: str) -> None:
    match kind:
        case "link":
            path.with_suffix(".target").write_text("# Ours", "utf-8")
            path.symlink_to(path.with_suffix(".target"))
        case "dangling link":
            path.symlink_to("nowhere")
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "other content":
            path.write_text("notes", "utf-8")
        case "read-only":
            path.write_text("# Ours", "utf-8")
            path.chmod(0o444)
        case "ours":
            path.write_text("# Ours", "utf-8")
        case "empty":
            path.touch()


def check(path: Path, *inputs: Path) -> None:
    require_replaceable(path, option="--out", is_ours=begins_with("# Ours"), inputs=inputs)


@pytest.mark.parametrize("kind", ["link", "dangling link", "directory", "pipe", "other content", "read-only"])
def test_what_we_did_not_write_is_refused(tmp_path: Path, kind: str) -> None:
    make(tmp_path / "out", kind)

    with pytest.raises(SettingsError, match="--out"):
        check(tmp_path / "out")


@pytest.mark.parametrize("kind", ["nothing", "empty", "ours"])
def test_what_we_wrote_is_replaced(tmp_path: Path, kind: str) -> None:
    make(tmp_path / "out", kind)

    check(tmp_path / "out", tmp_path / "input")


@pytest.mark.parametrize("alias", ["same name", "hard link", "input is a link"])
def test_input_is_refused_under_any_name(tmp_path: Path, alias: str) -> None:
    out, given = tmp_path / "out", tmp_path / "input"
    make(out, "ours")
    match alias:
        case "same name":
            given = out
        case "hard link":
            given.hardlink_to(out)
        case "input is a link":
            given.symlink_to(out)

    with pytest.raises(SettingsError, match="input"):
        check(out, given)
