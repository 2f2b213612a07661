"""Settings: precedence, origins, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from enrich_dist.errors import SettingsError
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.settings import Settings, flatten, load_settings
from enrich_dist.settings.load import known_keys
from tests.conftest import REPOSITORY

BASE = REPOSITORY / "config" / "base.yaml"


def test_precedence_of_origins(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    environment = {"ENRICH_DIST_CHUNK_SIZE": "2", "ENRICH_DIST_CLUSTER__N_WORKERS": "2"}
    file.write_text("chunk_size: 1\ntimeout_seconds: 1\ncluster: {n_workers: 1}\n", "utf-8")

    loaded = load_settings(file, ["cluster.n_workers=3"], environment)

    assert loaded.settings.cluster.n_workers == 3
    assert loaded.origins["cluster.n_workers"] == "command line"
    assert loaded.settings.chunk_size == 2
    assert loaded.origins["chunk_size"] == "environment ENRICH_DIST_CHUNK_SIZE"
    assert loaded.settings.timeout_seconds == 1
    assert loaded.origins["timeout_seconds"] == f"file {file}"
    assert loaded.settings.match_rate_threshold == 0.70
    assert loaded.origins["match_rate_threshold"] == "default"
    assert [item.line for item in loaded.overrides()] == [
        "setting chunk_size = 2 (environment ENRICH_DIST_CHUNK_SIZE)",
        "setting cluster.n_workers = 3 (command line)",
        f"setting timeout_seconds = 1.0 (file {file})",
    ]


def test_a_file_extends_another_and_wins(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("chunk_size: 1\ntimeout_seconds: 1\n", "utf-8")
    (tmp_path / "overlay.yaml").write_text("extends: base.yaml\nchunk_size: 2\n", "utf-8")

    loaded = load_settings(tmp_path / "overlay.yaml", [], {})

    assert (loaded.settings.chunk_size, loaded.settings.timeout_seconds) == (2, 1)
    assert loaded.origins["timeout_seconds"] == f"file {tmp_path / 'base.yaml'}"


def test_cycle_of_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n", "utf-8")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n", "utf-8")

    with pytest.raises(SettingsError, match="extends itself"):
        load_settings(tmp_path / "a.yaml", [], {})


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("chunk_size: 7\n", "utf-8")

    assert load_settings(None, [], {"ENRICH_DIST_CONFIG": str(tmp_path / "mine.yaml")}).settings.chunk_size == 7


def test_column_map_entries_can_be_set() -> None:
    texts = ["inputs.award_columns.state=Province", "inputs.award_columns.uei=null"]

    loaded = load_settings(BASE, texts, {})

    assert loaded.settings.inputs.award_columns == {"state": "Province", "uei": None}


@pytest.mark.parametrize(
    ("overrides", "environment", "message"),
    [
        (["chunk_sise=5"], {}, r"Unknown setting 'chunk_sise' \(command line\). Did you mean 'chunk_size'\?"),
        (["n_workers=5"], {}, r"Did you mean 'cluster.n_workers'\?"),
        ([], {"ENRICH_DIST_CHUNCK_SIZE": "5"}, r"environment ENRICH_DIST_CHUNCK_SIZE\). Did you mean 'chunk_size'\?"),
        (["chunk_size=many"], {}, r"chunk_size \(command line\): .*integer.*'many'"),
        (["chunk_size=0"], {}, r"chunk_size \(command line\): .*greater than or equal to 1"),
        ([], {"ENRICH_DIST_MATCH_RATE_THRESHOLD": "70"}, r"environment ENRICH_DIST_MATCH_RATE_THRESHOLD\): .*less"),
        (["chunk_size"], {}, "has no '='"),
        (["matching.review_probability=0.9"], {}, "review_probability 0.9 is above accept_probability 0.5"),
        (["matching.accept_probability=75"], {}, r"matching.accept_probability \(command line\): .*less"),
        (["matching.accept_probability=0"], {}, r"matching.accept_probability \(command line\): .*greater than 0"),
        (["matching.max_block_size=0"], {}, r"matching.max_block_size \(command line\): .*greater than or equal to 1"),
        (["min_estimated_precision=95"], {}, r"min_estimated_precision \(command line\): .*less"),
        (["matching.accept_score=0.9"], {}, r"Did you mean 'matching\.accept_probability'\?"),
        (["cluster.kind=address"], {}, "needs cluster.address"),
        (["cluster.kind=address", "cluster.address=scheduler:8786"], {}, "has no protocol"),
    ],
)
def test_bad_setting_names_origin(overrides: list[str], environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(BASE, overrides, environment)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("chunk_size: [", "not valid YAML"),
        ("- 1\n", "is not a mapping"),
        ("chunksize: 1\n", "Did you mean 'chunk_size'"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(content, "utf-8")

    with pytest.raises(SettingsError, match=message):
        load_settings(file, [], {})


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml does not exist"):
        load_settings(Path("nowhere.yaml"), [], {})


def test_base_yaml_has_all_defaults() -> None:
    document = yaml.safe_load(BASE.read_text("utf-8"))
    keys = {key.removesuffix(".*") for key in known_keys()}
    present = set(flatten(document)) | {
        f"{section}.{name}" for section, values in document.items() if isinstance(values, dict) for name in values
    }

    assert keys <= present
    assert load_settings(BASE, [], {}).settings == Settings()


def test_matching_settings_reach_configs() -> None:
    texts = ["min_name_overlap=0.6", "max_candidates_per_name=3", "max_block_size=9", "batch_rows=5"]
    texts += ["accept_probability=0.8", "review_probability=0.2"]

    matching = load_settings(BASE, [f"matching.{text}" for text in texts], {}).settings.matching

    assert matching.candidates() == CandidateConfig(
        min_name_overlap=0.6, max_candidates_per_name=3, max_block_size=9, batch_rows=5
    )
    assert matching.decision() == DecisionConfig(accept_probability=0.8, review_probability=0.2)


def test_sample_overlay_lowers_the_gate() -> None:
    assert load_settings(BASE, [], {}).settings.match_rate_threshold == 0.70
    assert load_settings(REPOSITORY / "config" / "sample.yaml", [], {}).settings.match_rate_threshold < 0.70


@pytest.mark.parametrize("key", [key for key in known_keys() if not key.endswith(".*")])
def test_every_setting_can_be_set(key: str) -> None:
    value = str(Settings().flat()[key])
    name = "ENRICH_DIST_" + key.upper().replace(".", "__")

    by_command = load_settings(BASE, [f"{key}={'null' if value == 'None' else value}"], {})
    by_environment = load_settings(BASE, [], {name: "null" if value == "None" else value})

    assert by_command.origins[key] == "command line"
    assert by_environment.origins[key] == f"environment {name}"
