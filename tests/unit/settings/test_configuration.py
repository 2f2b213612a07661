"""The settings as an operator meets them: comments, overlays, schema, reference, and what ``config validate`` finds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from enrich_dist.cli.main import app
from enrich_dist.settings import Settings, flatten, load_settings
from enrich_dist.settings.documentation import (
    BASE,
    base_comments,
    is_section,
    read_comments,
    render_reference,
    setting_schemas,
    settings_schema,
)
from enrich_dist.settings.load import known_keys
from tests.conftest import REPOSITORY
from tests.support.known_case import write_inputs

CONFIG = REPOSITORY / "config"
OVERLAYS = sorted(path for path in CONFIG.glob("*.yaml") if path.name != "base.yaml")
KEYS = [key.removesuffix(".*") for key in known_keys()]
HOW = "config/base.yaml: write '# …' lines right above it: what it does, 'Unit: ….' of a number, when to change it"


def config(*arguments: str | Path, expect: int = 0) -> str:
    """What ``enrich-dist config …`` prints."""
    done = CliRunner().invoke(app, ["config", *map(str, arguments)], env={"COLUMNS": "300"})
    assert done.exit_code == expect, done.output
    return done.output


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


# --- comments


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_has_a_comment(key: str) -> None:
    assert key in base_comments(), f"{key} has no comment. {HOW}"
    comment = base_comments()[key]
    value = Settings().flat().get(key)
    numeric = {"integer", "number"} & set(re.findall(r'"type": "(\w+)"', json.dumps(setting_schemas()[key])))
    if numeric and not isinstance(value, bool):
        assert comment.unit, f"{key} is a number without a unit. {HOW}"
    assert re.search(r"\b(raise|lower|set|change)\b", comment.text, re.IGNORECASE), f"{key}: when to change it? {HOW}"


def test_every_section_has_a_comment() -> None:
    assert [key for key, field in setting_schemas().items() if is_section(field) and key not in base_comments()] == []


def test_comment_is_block_above_key() -> None:
    text = "# of the file\n\n# one,\n# two. Unit: rows. Three.\na: 1\nb: 2\nc:\n  # of d\n  d: 3\n"

    found = read_comments(text)

    assert {key: comment.text for key, comment in found.items()} == {
        "a": "one, two. Unit: rows. Three.", "c.d": "of d"
    }  # fmt: skip
    assert found["a"].unit == "rows"
    assert found["a"].without_unit == "one, two. Three."
    assert found["c.d"].unit == ""


def test_package_contains_base_file() -> None:
    assert BASE.read_bytes() == (CONFIG / "base.yaml").read_bytes()


# --- overlays


def test_overlays_exist() -> None:
    assert {path.stem for path in OVERLAYS} == {"laptop", "cluster", "sample"}


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_overlay_contains_only_differences(overlay: Path) -> None:
    text = overlay.read_text("utf-8")
    own = flatten(yaml.safe_load(text))
    base = flatten(yaml.safe_load((CONFIG / "base.yaml").read_text("utf-8")))
    loaded = load_settings(overlay, [], {})

    assert own.pop("extends") == "base.yaml"
    assert own
    assert [key for key, value in own.items() if base.get(key) == value] == []
    assert "#" in text.partition("extends")[0]
    assert {item.key: item.origin for item in loaded.overrides()} == dict.fromkeys(own, f"file {overlay}")
    assert loaded.origins["farm.straggler_factor"] == f"file {CONFIG / 'base.yaml'}"


def test_origin_names_file_of_chain(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.yaml", f"extends: {CONFIG / 'laptop.yaml'}\nchunk_size: 7\n")
    rows = {
        line.split()[0]: line.rstrip().split(maxsplit=2)[1:]
        for line in config("show", "--origin", "--config", mine).splitlines()
        if line
    }

    assert rows["chunk_size"] == ["7", f"file {mine}"]
    assert rows["memory_threshold_mb"] == ["800", f"file {CONFIG / 'laptop.yaml'}"]
    assert rows["timeout_seconds"] == ["1800.0", f"file {CONFIG / 'base.yaml'}"]


def test_commented_section_changes_nothing(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path / "a.yaml", "cluster:\n  # n_workers: 4\n"), [], {}).settings == Settings()


# --- schema and reference


VALIDATOR = jsonschema.Draft202012Validator(settings_schema())


def test_command_prints_valid_schema(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(settings_schema())

    assert json.loads(config("schema")) == settings_schema()
    assert config("schema", "--out", tmp_path / "schema.json") == ""
    assert json.loads((tmp_path / "schema.json").read_text("utf-8")) == settings_schema()


@pytest.mark.parametrize("file", [CONFIG / "base.yaml", *OVERLAYS], ids=lambda path: path.stem)
def test_the_schema_accepts_our_files(file: Path) -> None:
    VALIDATOR.validate(yaml.safe_load(file.read_text("utf-8")))


@pytest.mark.parametrize(
    "document",
    [
        {"chunk_sise": 5},
        {"cluster": {"n_worker": 5}},
        {"chunk_size": "many"},
        {"chunk_size": 0},
        {"match_rate_threshold": 70},
        {"cluster": {"kind": "cloud"}},
        {"cluster": {"tls": {"ca": "x"}}},
        {"extends": 7},
        {"fail_fast": "perhaps"},
    ],
    ids=str,
)
def test_schema_refuses_invalid_settings(document: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(document)


def test_schema_descriptions_are_comments() -> None:
    described = {key: field.get("description") for key, field in setting_schemas().items()}

    assert described == {key: base_comments()[key].text for key in described}
    assert set(KEYS) <= set(described)


def test_reference_page_is_current() -> None:
    page = REPOSITORY / "docs" / "reference" / "settings.md"

    assert config("reference") == render_reference()
    assert page.read_text("utf-8") == render_reference(), f"regenerate it: enrich-dist config reference --out {page}"
    assert [key for key in KEYS if f"### `{key}`" not in render_reference()] == []


# --- validate


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "chunk_size: 5\n\nfarm:\n  max_attempts: none\n")
    mine = write(
        tmp_path / "mine.yaml", "extends: base.yaml\n# a word\nchunksize: 3\nmatching:\n  accept_probability: 75\n"
    )

    printed = config("validate", "--config", mine, "--set", "n_workers=3", expect=2)

    lines = printed.splitlines()
    assert f"error    Unknown setting 'chunksize' (file {mine}, line 3). Did you mean 'chunk_size'?" in lines
    assert "error    Unknown setting 'n_workers' (command line). Did you mean 'cluster.n_workers'?" in lines
    assert any(f"farm.max_attempts (file {base}, line 4): Input should be a valid integer" in line for line in lines)
    assert any(f"matching.accept_probability (file {mine}, line 5): Input should be less" in line for line in lines)
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chunk_size: 1\nchunk_size: 2\n", "'chunk_size' occurs twice, in line 1 and in line 2"),
        ("cluster: local\n", "'cluster' is a section, not a setting ("),
        ("chunk_size: {rows: 3}\n", "Unknown setting 'chunk_size.rows' ("),
        ("extends: nowhere.yaml\n", "nowhere.yaml does not exist. Check 'extends' in"),
        ("chunk_size: [\n", "line 2, column 1"),
    ],
)
def test_malformed_file_names_position(tmp_path: Path, text: str, message: str) -> None:
    assert message in config("validate", "--config", write(tmp_path / "a.yaml", text), expect=2)


def test_contradiction_names_both_origins(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.yaml", "\nmatching: {review_probability: 0.9}\n")

    printed = config("validate", "--config", mine, "--set", "matching.accept_probability=0.8", expect=2)

    assert f"matching.review_probability: file {mine}, line 2" in printed
    assert "matching.accept_probability: command line" in printed
    assert "review_probability 0.9 is above accept_probability 0.8" in printed


def test_validate_checks_resources(tmp_path: Path) -> None:
    awards, _ = write_inputs(tmp_path)
    (tmp_path / "file").write_text("x", "utf-8")
    text = f"""
inputs:
  awards: {awards}
  recipients: {tmp_path / "missing.parquet"}
paths: {{work_dir: {tmp_path / "file" / "work"}}}
memory_threshold_mb: 256
cluster:
  kind: ssh
  options: {{hosts: [a, b]}}
  tls: {{ca_file: {awards}, cert_file: no-cert.pem, key_file: no-key.pem}}
notifications: {{urls_file: no-addresses}}
testing: {{fault_probability: 0.1}}
"""
    mine = write(tmp_path / "mine.yaml", text)

    printed = config("validate", "--config", mine, expect=2)

    told = re.split(r"^(?=error|warning)", printed, flags=re.MULTILINE)[1:]
    assert [item.split()[0] for item in told] == ["error"] * 5 + ["warning"]
    for item, message, place in zip(
        told,
        ("missing.parquet", "memory_threshold_mb", "no-cert.pem cannot be read", "is not a directory", "no-addresses",
         "on purpose"),
        ("inputs.recipients", "memory_threshold_mb", "cluster.tls.cert_file", "paths.work_dir",
         "notifications.urls_file", "testing.fault_probability"),
        strict=True,
    ):  # fmt: skip
        assert message in item
        assert re.search(rf"{re.escape(place)}: file {re.escape(str(mine))}, line \d+", item), item


def test_validate_checks_packages(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.yaml", "cluster: {kind: kubernetes, allow_insecure: true}\n")

    printed = config("validate", "--config", mine, expect=2)

    assert "cluster.kind 'kubernetes' needs the package dask-kubernetes, which is not installed" in printed
    assert f"cluster.kind: file {mine}, line 1" in printed
    assert "warning  cluster.allow_insecure is true." in printed


def test_valid_settings_and_missing_inputs(tmp_path: Path) -> None:
    assert re.search(r"Valid: \d+ settings, 6 of them overridden\.", config(
        "validate", "--config", CONFIG / "sample.yaml", "--set", f"paths.work_dir={tmp_path}"
    ))  # fmt: skip

    printed = config("validate", "--config", CONFIG / "laptop.yaml")

    assert printed.startswith("warning  inputs.awards is not set.")
    assert "Valid: " in printed
