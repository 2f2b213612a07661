"""A run that is going to miss its threshold says so after a tenth of the work, and stops there where it is to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from distributed import Client

from enrich_dist.core.files import read_json
from enrich_dist.errors import EXIT_BLOCKED, ProjectedToFailError
from enrich_dist.events import Event, FarmProgress, Notice, listening
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import Output
from enrich_dist.store.status import read_status
from scripts.generator.generate import write_awards, write_recipients
from tests.conftest import REPOSITORY, enrich_dist
from tests.support.paced import PacedPipeline

pytestmark = pytest.mark.cluster

CHUNKS = 60
SAMPLE = REPOSITORY / "data" / "sample" / "recipients.parquet"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of whose awards about two thirds have a match."""
    folder = tmp_path_factory.mktemp("generated")
    awards, recipients = folder / "awards.csv", folder / "recipients.parquet"
    write_recipients(recipients, rows=CHUNKS * 1_000, seed=6, sample=SAMPLE)
    write_awards(awards, companies=6_000, recipients=recipients, seed=6)
    return awards, recipients


def farmed(
    folder: Path, inputs: tuple[Path, Path], client: Client, paced: bool = False, **values: object
) -> tuple[Pipeline, list[Event]]:
    """A pipeline with a finished farm, and its events. ``paced``: its chunks take as long as real ones; sixty that are
    all done between two looks of the driver leave nothing to be said early."""
    awards, recipients = inputs
    run: dict[str, object] = {"paths": {"work_dir": folder}, "chunk_size": 1_000, **values}
    settings = Settings(inputs={"awards": awards, "recipients": recipients}, **run)  # type: ignore[arg-type]
    if paced:
        ledger = folder / "calls"
        ledger.mkdir(parents=True, exist_ok=True)
        pipeline: Pipeline = PacedPipeline(settings, ledger)
    else:
        pipeline = Pipeline(settings, "early")
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    heard: list[Event] = []
    with listening(heard.append):
        pipeline.farm_chunks(lambda: client)
    return pipeline, heard


def warnings_of(heard: list[Event]) -> list[str]:
    return [event.message for event in heard if isinstance(event, Notice) and "match_rate_threshold" in event.message]


@pytest.mark.long
def test_warning_is_early_and_correct(tmp_path: Path, client: Client, inputs: tuple[Path, Path]) -> None:
    pipeline, heard = farmed(tmp_path, inputs, client, paced=True, match_rate_threshold=0.9)

    (warning,) = warnings_of(heard)
    progress = [event for event in heard if isinstance(event, FarmProgress)]
    warned_at = next(n for n, event in enumerate(heard) if isinstance(event, Notice) and event.message == warning)
    done = next(event.chunks_done for event in reversed(heard[:warned_at]) if isinstance(event, FarmProgress)) + 1
    assert done / CHUNKS == pytest.approx(0.1, abs=0.02)
    final = read_json(pipeline.enrich_awards().path(Output.RESULT) / "metrics.json")["match_rate"]
    assert 0.5 < final < 0.9
    last = [event for event in progress if event.chunks_done < event.chunks_total][-1]
    assert last.projected_match_rate_low is not None
    assert last.projected_match_rate_high is not None
    assert last.projected_match_rate_low <= final <= last.projected_match_rate_high < 0.9
    assert progress[0].projected_match_rate is None
    assert progress[-1].chunks_done == CHUNKS
    assert progress[-1].projected_match_rate is None, "nothing is left to come"


@pytest.mark.long
def test_passing_run_gets_no_warning(tmp_path: Path, client: Client, inputs: tuple[Path, Path]) -> None:
    pipeline, heard = farmed(tmp_path, inputs, client, match_rate_threshold=0.6, fail_fast=True)

    assert warnings_of(heard) == []
    assert pipeline.enrich_awards().numbers["match_rate"] > 0.6
    assert [event.chunks_done for event in heard if isinstance(event, FarmProgress)][-1] == CHUNKS


@pytest.mark.long
@pytest.mark.setting("fail_fast")
def test_fail_fast_keeps_finished_chunks(tmp_path: Path, client: Client, inputs: tuple[Path, Path]) -> None:
    for _ in range(2):  # also when it is started again with most of a tenth done
        with pytest.raises(ProjectedToFailError, match="Stopped early"):
            farmed(tmp_path, inputs, client, paced=True, match_rate_threshold=0.9, fail_fast=True)
        time.sleep(1)  # what was under way when it stopped is done
    kept = read_status(Pipeline(Settings(paths={"work_dir": tmp_path}), "look").directory).chunks_done
    assert 6 <= kept <= 20

    pipeline, heard = farmed(tmp_path, inputs, client, match_rate_threshold=0.9)

    first = next(event for event in heard if isinstance(event, FarmProgress))
    assert first.chunks_resumed == kept
    assert pipeline.enrich_awards().numbers["verdict_passed"] == 0


@pytest.mark.long
def test_command_exits_as_when_blocked(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    awards, recipients = inputs

    done = enrich_dist(
        "run", "--awards", awards, "--recipients", recipients, "--work-dir", tmp_path, "--chunk-size", "1000",
        "--set", "match_rate_threshold=0.9", "--set", "fail_fast=true",
    )  # fmt: skip

    assert done.returncode == EXIT_BLOCKED
    assert "Stopped early because fail_fast is set: after 10" in done.stderr
    assert "fail_fast: false" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "published").exists()
