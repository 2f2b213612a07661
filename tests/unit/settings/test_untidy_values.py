"""Settings from untidy or hostile texts and files: the text as it is, or an error that names the key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enrich_dist.errors import SettingsError
from enrich_dist.settings import Settings, load_settings, override_text
from enrich_dist.settings.documentation import is_section, setting_schemas
from enrich_dist.settings.load import known_keys
from enrich_dist.settings.tree import environment_variable
from enrich_dist.settings.values import LocalPath, Location
from tests.support.odd_paths import ODD_NAME, ODD_NAMES

NUMBERS = ("integer", "number")
PATHS = [
    "inputs.awards", "inputs.recipients", "paths.work_dir", "paths.checkpoints", "paths.benchmarks",
    "cluster.tls.ca_file", "cluster.tls.cert_file", "cluster.tls.key_file", "monitoring.textfile",
    "notifications.urls_file", "readiness.smoke_config",
]  # fmt: skip


def forms(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schemas of the values that a setting may have."""
    yield schema
    for inner in schema.get("anyOf", []):
        yield from forms(inner)


def loaded_from_everywhere(key: str, text: str, folder: Path) -> list[Settings]:
    """Settings with this text for the key from the command line, the environment and a file."""
    rest = {}
    if key.startswith("cluster.tls."):
        rest = {f"cluster.tls.{name}": "x" for name in ("ca_file", "cert_file", "key_file")} | {"cluster.kind": "slurm"}
    texts = [f"{name}={value}" for name, value in {**rest, key: text}.items()]
    lines = "\n".join(f"{name}: '{value.replace(chr(39), chr(39) * 2)}'" for name, value in {**rest, key: text}.items())
    (folder / "settings.yaml").write_text(lines, "utf-8")
    environment = {environment_variable(name): value for name, value in {**rest, key: text}.items()}
    return [
        load_settings(None, texts, {}).settings,
        load_settings(None, [], environment).settings,
        load_settings(folder / "settings.yaml", [], {}).settings,
    ]


@pytest.mark.parametrize(
    "text", [*ODD_NAMES, ODD_NAME, "/x/out #2", "{a: b}", "off", "0x10", "1_000", "2001-01-01 10:00", "!!int 5", "*a"]
)
def test_text_is_taken_as_it_is(text: str) -> None:
    name = override_text("paths.work_dir", text)
    by_command = load_settings(None, [name, override_text("inputs.recipients", text)], {}).settings
    columns = load_settings(None, [f"inputs.award_columns.company={text}"], {}).settings.inputs.award_columns

    assert str(by_command.paths.work_dir) == text
    assert by_command.inputs.recipients == ([text] if text.startswith("[") else None if text == "null" else text)
    assert load_settings(None, [], {"ENRICH_DIST_PATHS__WORK_DIR": text}).settings.paths.work_dir == Path(text)
    assert columns == {"company": None if text == "null" else text}  # null: the file has no such column


@pytest.mark.parametrize("text", ["2026-11-30", "No", "1e5", "0777", "12:30", "yes", "1_000", ".inf"])
def test_an_unquoted_text_in_a_file_is_taken_as_it_is(text: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(
        f"paths: {{work_dir: {text}}}\n"
        f"inputs: {{awards: {text}, recipients: [{text}], award_columns: {{company: {text}}}}}\n"
    )

    found = load_settings(file, [], {}).settings

    assert (found.paths.work_dir, found.inputs.awards, found.inputs.recipients) == (Path(text), text, [text])
    assert found.inputs.award_columns == {"company": text}


@pytest.mark.parametrize("key", PATHS)
def test_home_directory_is_expanded(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of me")

    for found in loaded_from_everywhere(key, "~/out.prom", tmp_path):
        assert found.flat()[key] == "/home/of me/out.prom"
    for found in loaded_from_everywhere(key, "a~b/~/no~user.prom", tmp_path):
        assert found.flat()[key] == "a~b/~/no~user.prom"


@pytest.mark.parametrize("key", PATHS)
def test_path_settings_take_odd_names(key: str, tmp_path: Path) -> None:
    for found in loaded_from_everywhere(key, f"/x/{ODD_NAME}/y z.prom", tmp_path):
        assert found.flat()[key] == f"/x/{ODD_NAME}/y z.prom"


def test_every_path_setting_is_tested() -> None:
    paths = {
        key
        for key in (key for key in known_keys() if not key.endswith(".*"))
        if any(item.get("format") == "path" for item in forms(setting_schemas()[key]))
    }
    assert paths | {"inputs.awards", "inputs.recipients", "paths.checkpoints"} == set(PATHS)
    assert LocalPath.__metadata__ == Location.__metadata__  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["", "a\nb", "a\x1b[31m", "a\0b", "\udcff"])
def test_unusable_path_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"paths\.work_dir \(command line\)"):
        load_settings(None, [f"paths.work_dir={text}"], {})


def test_null_is_no_value_only_where_one_may_be_missing() -> None:
    for empty in ("null", ""):
        assert load_settings(None, [f"paths.checkpoints={empty}"], {}).settings.paths.checkpoints is None
    assert load_settings(None, ["paths.work_dir=null"], {}).settings.paths.work_dir == Path("null")
    with pytest.raises(SettingsError, match="chunk_size"):
        load_settings(None, ["chunk_size=null"], {})


def test_lists_and_mappings_are_yaml() -> None:
    texts = ["inputs.recipients=[No, {location: 'a, b', member: 1e5}]", "inputs.award_columns={company: 'A: #1'}"]
    options = ["cluster.kind=slurm", "cluster.allow_insecure=true", "cluster.options={queue: 1e5, a.b/c: 3, on: [2]}"]

    found = load_settings(None, [*texts, *options, "cluster.options.cores=2"], {}).settings

    assert [item.location for item in found.inputs.recipient_inputs] == ["No", "a, b"]
    assert found.inputs.recipient_inputs[1].member == "1e5"
    assert found.inputs.award_columns == {"company": "A: #1"}
    assert found.cluster.options == {"queue": "1e5", "a.b/c": 3, "on": [2], "cores": 2}


def test_every_number_has_bounds() -> None:
    missing = [
        (key, bound)
        for key, schema in setting_schemas().items()
        if not is_section(schema)
        for form in forms(schema)
        if form.get("type") in NUMBERS
        for bound in ("minimum", "maximum")
        if bound not in form and f"exclusive{bound.capitalize()}" not in form
    ]
    assert missing == []


@pytest.mark.parametrize(
    "key",
    [
        key
        for key, schema in setting_schemas().items()
        if not is_section(schema) and any(form.get("type") in NUMBERS for form in forms(schema))
    ],
)
def test_numbers_are_strict(key: str) -> None:
    whole = any(form.get("type") == "integer" for form in forms(setting_schemas()[key]))
    wrong = ["true", "no", "nan", "inf", "-inf", "1e400", "9" * 5_000, "x", "-1", "[1]", *(["1.5"] if whole else [])]
    for text in wrong:
        with pytest.raises(SettingsError) as raised:
            load_settings(None, [f"{key}={text}"], {})
        assert raised.value.parts[0].message.startswith(f"{key} (command line)")
        assert len(str(raised.value)) < 1_000
    section, _, name = key.rpartition(".")
    for value in (True, float("nan")):
        with pytest.raises(ValueError, match=name):
            Settings.model_validate({section: {name: value}} if section.count(".") == 0 and section else {name: value})


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)
HOSTILE = {
    "aliases": LAUGHS.encode(),
    "recursive alias": b"a: &a [*a]",
    "recursive mapping": b"a: &a\n  b: *a",
    "deep list": b"inputs: " + b"[" * 5_000,
    "deep mapping": b"".join(b" " * level + b"a:\n" for level in range(300)),
    "large": b"# " + b"x" * 300_000,
    "Latin-1": "paths: {work_dir: Müller}".encode("latin-1"),
    "UTF-16": "chunk_size: 5".encode("utf-16"),
    "NUL": b"chunk_size: 5\0",
    "escaped NUL": b'paths: {work_dir: "a\\0b"}',
    "surrogate": b'paths: {work_dir: "a\\ud800b"}',
    "no character": b'paths: {work_dir: "\\UFFFFFFFF"}',
    "duplicate": b"chunk_size: 5\nchunk_size: 6\n",
    "duplicate of another type": b"cluster: {options: {1: a, '1': b}}\n",
    "list key": b"? [a, b]\n: 1\n",
    "mapping key": b"{{a: 1}: 2}",
    "number key": b"1: 2\n",
    "null key": b"~: 2\n",
    "merge key": b"a: &a {n_workers: 1}\ncluster:\n  <<: *a\n",
    "tag": b"chunk_size: !!python/object/apply:os.system [echo]\n",
    "own tag": b"chunk_size: !secret 5\n",
    "binary": b"inputs: {awards: !!binary aGk=}\n",
    "list": b"[chunk_size, 5]",
    "text": b"chunk_size 5",
    "documents": b"chunk_size: 5\n---\nchunk_size: 6\n",
    "version": b"%YAML " + b"9" * 5_000 + b".1\n---\nchunk_size: 5\n",
    "huge number": b"chunk_size: " + b"9" * 5_000,
    "huge option": b"cluster: {kind: slurm, allow_insecure: true, options: {cores: " + b"9" * 5_000 + b"}}",
    "infinite option": b"cluster: {kind: slurm, allow_insecure: true, options: {cores: .inf}}",
    "infinite": b"timeout_seconds: .inf",
    "no number": b"timeout_seconds: .nan",
    "too large": b"timeout_seconds: 1e400",
    "hexadecimal": b"chunk_size: 0x10",
    "timestamp": b"timeout_seconds: 2026-11-30",
    "section as number": b"cluster: 5",
    "number as section": b"chunk_size: {rows: 5}",
    "mapping as text": b"inputs: {award_columns: firm}",
    "extends a list": b"extends: [a.yaml]",
    "extends itself": b"extends: settings.yaml",
    "extends a device": b"extends: /dev/zero",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(HOSTILE[name])

    with pytest.raises(SettingsError) as raised:
        load_settings(file, [], {})

    assert "settings.yaml" in str(raised.value) or "/dev/zero" in str(raised.value)
    assert len(str(raised.value)) < 2_000


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), Path("/dev/null"), tmp_path / "loop"):
        with pytest.raises(SettingsError, match=str(path)):
            load_settings(path, [], {})


def test_aliases_and_dotted_keys_work(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("\ufeffinputs: {awards: &name a.csv, recipients: *name}\ncluster.n_workers: 3\n", "utf-8")

    found = load_settings(file, [], {}).settings

    assert (found.inputs.awards, found.inputs.recipients, found.cluster.n_workers) == ("a.csv", "a.csv", 3)
