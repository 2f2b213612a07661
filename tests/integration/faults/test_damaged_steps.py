"""Damaged outputs of steps: the next run rebuilds them, recomputes no other chunk, and publishes the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from distributed import Client

from enrich_dist.errors import CorruptionError, EnrichError
from enrich_dist.events import Step
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.store.run_directory import Output, RunDirectory
from tests.conftest import run_steps
from tests.support.in_process import run_in_process
from tests.support.known_case import settings
from tests.support.published import published_bytes


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    pipeline = run_in_process(settings(tmp_path_factory.mktemp("undisturbed")))
    pipeline.publish_awards()
    return published_bytes(pipeline.settings.paths.work_dir)


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def largest(folder: Path, pattern: str) -> Path:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_size)


OUTPUTS = {
    "awards": (Output.AWARDS, "awards.parquet"),
    "companies": (Output.COMPANIES, "companies.parquet"),
    "index": (Output.INDEX, "*.npy"),
    "chunks": (Output.CHUNKS, "0*.parquet"),
    "result": (Output.RESULT, "enriched_awards.parquet"),
}


@pytest.mark.parametrize(
    ("output", "file", "damage"),
    [
        ("index", "data", flipped),
        ("chunks", "manifest", torn),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in [
                ("awards", "manifest", torn),
                ("awards", "data", flipped),
                ("companies", "manifest", flipped),
                ("companies", "data", torn),
                ("index", "manifest", torn),
                ("index", "data", Path.unlink),
                ("chunks", "manifest", flipped),
                ("chunks", "manifest", Path.unlink),
                ("chunks", "data", torn),
                ("result", "manifest", torn),
                ("result", "data", flipped),
            ]
        ),
    ],
)
def test_damaged_output_is_rebuilt(
    tmp_path: Path, undisturbed: dict[str, str], output: str, file: str, damage: Callable[[Path], None]
) -> None:
    run = settings(tmp_path)
    pipeline = run_in_process(run)
    pipeline.publish_awards()
    made, pattern = OUTPUTS[output]
    folder = pipeline.directory.output(made)
    damage(folder / "manifest.json" if file == "manifest" else largest(folder, pattern))

    again = run_steps(run, no_cluster)  # rebuilt outputs have the same keys, so no chunk is recomputed

    assert not again.directory.latest(made.step).reused
    assert published_bytes(run.paths.work_dir) == undisturbed


def no_cluster() -> Client:
    raise AssertionError("a chunk has no checkpoint")


@pytest.mark.parametrize(
    ("output", "pattern", "damage"),
    [
        ("index", "*.npy", flipped),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in [
                ("index", "*.npy", Path.unlink),
                ("index", "manifest.json", torn),
                ("chunks", "manifest.json", torn),
                ("chunks", "manifest.json", flipped),
            ]
        ),
    ],
)
def test_damage_between_steps_stops_run(
    tmp_path: Path, undisturbed: dict[str, str], output: str, pattern: str, damage: Callable[[Path], None]
) -> None:
    """Damage is detected when the driver opens the output; the same command rebuilds it."""
    run = settings(tmp_path)
    pipeline = Pipeline(run, "damaged")
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    damage(largest(pipeline.directory.output(OUTPUTS[output][0]), pattern))

    with pytest.raises(CorruptionError, match=r"un again: it is rebuilt"):
        pipeline.farm_chunks(no_cluster)
    rebuilt = run_in_process(run)
    rebuilt.publish_awards()

    assert published_bytes(run.paths.work_dir) == undisturbed


@pytest.mark.long
@pytest.mark.parametrize("name", ["farm_plan", Step.AWARD_COMPANIES, Step.RECIPIENT_CHUNKS, Step.CHUNK_MATCHES])
@pytest.mark.parametrize("content", ["", "[]", '{"chunks": 7}'])
def test_damaged_step_record_is_rewritten(tmp_path: Path, undisturbed: dict[str, str], name: str, content: str) -> None:
    run = settings(tmp_path)
    pipeline = run_in_process(run)
    (pipeline.directory.steps / f"{name}.json").write_text(content, "utf-8")

    reader = RunDirectory(run.paths.work_dir)
    with pytest.raises(EnrichError, match=f"{name}.json"):
        reader.latest_farm() if name == "farm_plan" else reader.latest(Step(name))
    run_steps(run, no_cluster)

    assert published_bytes(run.paths.work_dir) == undisturbed
