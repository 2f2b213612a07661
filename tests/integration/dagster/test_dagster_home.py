"""A DAGSTER_HOME that Dagster cannot use is an error of the settings; its path is no address."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dagster_defs.launch import open_instance
from enrich_dist.errors import EXIT_BAD_INPUT, CorruptionError, SettingsError
from tests.support.odd_paths import ODD_NAME

DAMAGED = {
    "a list": b"- 1\n",
    "no YAML": b"storage: [\n",
    "an unknown key": b"storag: {}\n",
    "bytes": b"\xff\xfe\x00",
    "a missing variable": b"storage: {postgres: {postgres_url: {env: NO_SUCH_VARIABLE}}}\n",
}


@pytest.mark.parametrize("home", ["home", "missing", "file", "/proc"])
def test_home_that_is_no_writable_directory_is_refused(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    named = home if home == "home" else str(tmp_path / home)  # the first is relative
    monkeypatch.setenv("DAGSTER_HOME", named)

    with pytest.raises(SettingsError, match=f"DAGSTER_HOME={named} ") as raised, open_instance(tmp_path / "work"):
        pass

    assert raised.value.exit_code == EXIT_BAD_INPUT
    assert not (tmp_path / "work").exists()


def test_home_with_history_elsewhere_may_be_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    elsewhere = "{module: dagster._core.storage.root, class: LocalArtifactStorage, config: {base_dir: %s}}"
    history = f"storage: {{sqlite: {{base_dir: {tmp_path}}}}}\nlocal_artifact_storage: {elsewhere % tmp_path}\n"
    (home / "dagster.yaml").write_text(history)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    access = os.access  # root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and not (path == home and mode & os.W_OK))

    with open_instance(tmp_path / "work") as instance:
        assert instance.get_runs() == []


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_bad_dagster_yaml_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_bytes(content)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    with pytest.raises(SettingsError, match=str(tmp_path)), open_instance(tmp_path / "work"):
        pass


def test_own_history_that_is_damaged_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "runs.db").write_text("no database " * 500)

    with pytest.raises(CorruptionError, match=str(tmp_path)), open_instance(tmp_path):
        pass


def test_path_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for _ in range(2):
        with open_instance(tmp_path / ODD_NAME) as instance:
            assert instance.get_runs() == []

    assert {path.name for path in tmp_path.iterdir()} == {ODD_NAME}
    assert (tmp_path / ODD_NAME / "history" / "runs.db").is_file()
