"""In production a run needs a readiness file, however it is launched; and every step to obtain one.

Launched through the web server's GraphQL: tests/integration/dagster/test_dagster_dev.py. The command line: also
tests/unit/preflight/test_readiness_file.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from dagster_defs.assets import enrich
from dagster_defs.definitions import defs
from dagster_defs.launch import launch, open_instance
from dagster_defs.run_outcome import run_outcome
from enrich_dist.core.files import read_json
from enrich_dist.errors import EXIT_NOT_READY, ReadinessError
from enrich_dist.runs.archive import set_baseline, write_record
from enrich_dist.runs.environment import this_code, this_machine
from enrich_dist.settings import load_settings
from tests.conftest import enrich_dist
from tests.support.histories import a_run
from tests.support.known_case import write_inputs
from tests.support.listener import listening_for_posts, write_urls
from tests.support.preflight_case import make_ready, vulnerability_database

pytestmark = pytest.mark.cluster
CANARY = "canary5d21c"


def production_config(folder: Path, **values: Any) -> Path:
    """Write production settings for the known case."""
    awards, recipients = write_inputs(folder / "inputs")
    document = {
        "environment": "production",
        "inputs": {"awards": str(awards), "recipients": str(recipients)},
        "paths": {"work_dir": str(folder / "work"), "benchmarks": str(folder / "records")},
        "chunk_size": 30,
        "match_rate_threshold": 0.5,
        "readiness": {"min_free_gb": 0.1},
    }
    path = folder / "production.yaml"
    path.write_text(yaml.safe_dump({**document, **values}), "utf-8")
    return path


def started_outputs(work_dir: Path) -> set[str]:
    """Return the outputs of a run that started to work."""
    return {path.name for path in work_dir.iterdir()} & {"steps", "awards", "chunks", "scratch", "published"}


def test_job_needs_the_readiness_file(tmp_path: Path) -> None:
    config = production_config(tmp_path)
    settings = load_settings(config, [], {}).settings

    with pytest.raises(ReadinessError, match=r"readiness\.json does not exist"):
        launch(settings, config=config, overrides=[], log_level="CRITICAL")
    assert started_outputs(tmp_path / "work") == set()
    with open_instance(tmp_path / "work" / "dagster") as instance:
        [record] = instance.get_run_records()
        outcome = run_outcome(instance, record)
    assert outcome is not None
    assert [(incident.where, incident.error) for incident in outcome.incidents] == [("start", "ReadinessError")]
    assert "Not ready: " in outcome.incidents[0].reason

    make_ready(settings)
    launch(settings, config=config, overrides=[], log_level="CRITICAL")
    assert (tmp_path / "work" / "published" / "current").is_dir()


def test_partial_job_is_refused(tmp_path: Path) -> None:
    """Publish alone, as with Materialize on one asset in the UI; no admitted run precedes it."""
    config = production_config(tmp_path)
    run_config = {"resources": {"settings": {"config": {"config": str(config)}}}}
    job = defs.resolve_job_def(enrich.name)

    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(dg.DagsterResourceFunctionError) as refused:
        job.execute_in_process(
            run_config=run_config, instance=instance, asset_selection=[dg.AssetKey("published_awards")]
        )

    assert isinstance(refused.value.__cause__, ReadinessError)
    assert not (tmp_path / "work").exists()


@pytest.mark.long
def test_dagster_command_is_refused(tmp_path: Path) -> None:
    config = production_config(tmp_path)
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump({"resources": {"settings": {"config": {"config": str(config)}}}}), "utf-8"
    )
    (tmp_path / "home").mkdir()

    ended = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "job", "execute", "-m", "dagster_defs.definitions",
         "-j", "enrich", "-c", str(tmp_path / "run.yaml")],
        env={**os.environ, "DAGSTER_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert ended.returncode != 0
    assert "ReadinessError" in ended.stderr
    assert "Not ready: " in ended.stderr
    assert not (tmp_path / "work").exists()


@dataclass(frozen=True)
class ProductionSetup:
    """The results of the preflights and runs on the way to production."""

    folder: Path
    config: Path
    first: subprocess.CompletedProcess[str]
    refused: subprocess.CompletedProcess[str]
    second: subprocess.CompletedProcess[str]
    verified: subprocess.CompletedProcess[str]
    run: subprocess.CompletedProcess[str]
    changed: subprocess.CompletedProcess[str]

    @property
    def readiness_folder(self) -> Path:
        return self.folder / "work" / "readiness"


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> ProductionSetup:
    """The steps of docs/how-to/preflight.md: a failed preflight, a rehearsal, a baseline, a passed preflight, a run."""
    folder = tmp_path_factory.mktemp("production")
    smoke = folder / "smoke"
    smoke.mkdir()
    smoke_config = production_config(smoke, environment="development")
    environment = {"AWS_SECRET_ACCESS_KEY": CANARY, "SOME_TOKEN": CANARY}
    with listening_for_posts() as listener, vulnerability_database() as osv_url:
        urls = write_urls(folder / "urls", listener.url(CANARY))
        config = production_config(
            folder,
            notifications={"urls_file": str(urls)},
            readiness={
                "min_free_gb": 0.1,
                "smoke_config": str(smoke_config),
                "max_hours": 1.0,
                "osv_url": osv_url,
            },
        )
        preflight = ["preflight", "--config", config, "--send-test-notification", "--output-dir", folder / "copy"]
        first = enrich_dist(*preflight, **environment)
        refused = enrich_dist("run", "--config", config, **environment)
        development = enrich_dist("run", "--config", config, "--set", "environment=development", **environment)
        assert development.returncode == 0, development.stderr
        records = [
            replace(a_run(f"baseline{number:04d}"), machine=this_machine(), code=this_code()) for number in range(7)
        ]
        for record in records:
            write_record(folder / "records", record)
        set_baseline(folder / "records", records)
        second = enrich_dist(*preflight, **environment)
        verified = enrich_dist("preflight", "--verify", "--config", config, **environment)
        run = enrich_dist("run", "--config", config, **environment)
        changed = enrich_dist("run", "--config", config, "--workers", "3", **environment)
    return ProductionSetup(folder, config, first, refused, second, verified, run, changed)


@pytest.mark.long
def test_preflight_until_ready(rehearsal: ProductionSetup) -> None:
    assert rehearsal.first.returncode == EXIT_NOT_READY
    assert "Not ready for production: last_verdict, baseline (" in " ".join(rehearsal.first.stdout.split())
    assert rehearsal.refused.returncode == EXIT_NOT_READY
    assert "failed critical checks: last_verdict, baseline." in rehearsal.refused.stderr

    assert rehearsal.second.returncode == 0, rehearsal.second.stdout
    assert "Ready for production:" in " ".join(rehearsal.second.stdout.split())
    document = read_json(rehearsal.readiness_folder / "readiness.json")
    found = {item["id"]: item["status"] for item in document["items"]}
    assert found.pop("monitoring") == found.pop("no_insecure_override") == "warning"
    assert found.pop("baseline") in ("passed", "warning")  # a checkout with changes is not a measured revision
    assert set(found.values()) == {"passed"}, found

    assert (rehearsal.verified.returncode, rehearsal.run.returncode) == (0, 0), rehearsal.run.stderr
    assert "published" in rehearsal.run.stdout
    assert rehearsal.changed.returncode == EXIT_NOT_READY
    assert "cluster.n_workers was 2, is 3" in rehearsal.changed.stderr


@pytest.mark.long
def test_output_copy_is_identical(rehearsal: ProductionSetup) -> None:
    for name in ("readiness.json", "readiness.md"):
        assert (rehearsal.folder / "copy" / name).read_bytes() == (rehearsal.readiness_folder / name).read_bytes()


@pytest.mark.long
def test_outputs_contain_no_secret(rehearsal: ProductionSetup) -> None:
    files = [path for folder in (rehearsal.readiness_folder, rehearsal.folder / "copy") for path in folder.iterdir()]

    assert {path.name for path in files} == {"readiness.json", "readiness.md", "smoke.json"}
    texts = [path.read_text("utf-8") for path in files] + [
        run.stdout + run.stderr for run in (rehearsal.first, rehearsal.second)
    ]
    assert [text for text in texts if CANARY in text] == []
    assert json.loads(texts[0])
