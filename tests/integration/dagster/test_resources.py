"""The settings resource of a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_defs.assets import award_companies, sbir_awards
from dagster_defs.resources import EnrichSettings
from enrich_dist.events import Event, StepFinished, listening
from enrich_dist.store.run_directory import RunDirectory
from tests.conftest import REPOSITORY, enrich_dist
from tests.support.known_case import settings


def test_edited_settings_apply_to_next_run(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"

    def write(work_dir: Path) -> None:
        config.write_text(yaml.safe_dump({**known, "paths": {"work_dir": str(work_dir)}}))

    known = settings(tmp_path).model_dump(mode="json", include={"inputs", "chunk_size"})
    resource = EnrichSettings(config=str(config))
    write(tmp_path / "one")

    def edit(event: Event) -> None:
        if isinstance(event, StepFinished) and event.step == "sbir_awards":
            write(tmp_path / "other")

    with listening(edit):
        result = dg.materialize([sbir_awards, award_companies], resources={"settings": resource})

    assert result.success
    assert set(RunDirectory(tmp_path / "one").all_latest()) == {"sbir_awards", "award_companies"}
    assert not (tmp_path / "other").exists()
    assert resource.load().settings.paths.work_dir == tmp_path / "other"


@pytest.mark.cluster
def test_finished_run_imports_no_engine_of_the_farm(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    known = settings(tmp_path).model_dump(mode="json", include={"inputs", "chunk_size"})
    known |= {"paths": {"work_dir": str(tmp_path / "work")}, "match_rate_threshold": 0.0}
    config.write_text(yaml.safe_dump(known))
    arguments = ["run", "--config", str(config)]
    first = enrich_dist(*arguments)
    assert first.returncode == 0, first.stderr
    code = (
        "import sys, contextlib; from enrich_dist.cli.main import main\n"
        f"sys.argv = ['enrich-dist', *{arguments!r}]\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print('heavy:', sorted({'distributed', 'dagster_dask', 'scipy.stats', 'scipy.sparse'} & set(sys.modules)))"
    )

    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)

    assert "reused" in again.stdout, again.stderr
    assert "heavy: []" in again.stdout
