"""Workers that die, hang, fail or exceed their memory, and rows that cannot be matched.

The run publishes the bytes of an undisturbed run, or stops cleanly. Workers are real processes; calls of the matcher
are counted per chunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

from enrich_dist.cluster.client import open_client
from enrich_dist.core.files import read_json
from enrich_dist.core.matcher import Matcher
from enrich_dist.errors import EnvironmentFailureError, FarmError, IndexMismatchError, PublicationBlockedError
from enrich_dist.events import Event, FarmProgress, Notice, Step, listening
from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import Output
from tests.conftest import run_steps
from tests.support.checkpoint_files import counts_path, data_path
from tests.support.known_case import settings, write_inputs
from tests.support.matchers import Harmful
from tests.support.published import published_bytes

pytestmark = pytest.mark.cluster
CHUNKS = 6  # 55 recipients in chunks of 10


@pytest.fixture(scope="module")
def own_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A cluster of these tests alone: they kill its workers."""
    with open_client(Settings(), tmp_path_factory.mktemp("dask")) as opened:
        yield opened


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, client: Client) -> dict[str, str]:
    run = settings(tmp_path_factory.mktemp("undisturbed"))
    run_steps(run, lambda: client)
    return published_bytes(run.paths.work_dir)


class HarmedPipeline(Pipeline):
    """A pipeline whose matcher does harm."""

    def __init__(self, run: Settings, ledger: Path, harm: str, times: int, greedy_rows: int = 0) -> None:
        super().__init__(run, "harmed")
        ledger.mkdir(parents=True)
        self._harm: dict[str, Any] = {"ledger": ledger, "victim_row": 25, "harm": harm, "times": times}
        self._harm["greedy_rows"] = greedy_rows

    def matcher(self) -> Matcher:
        return Harmful(super().matcher(), **self._harm)


def prepare(tmp_path: Path, harm: str, times: int = 1, greedy_rows: int = 0, **values: Any) -> HarmedPipeline:
    pipeline = HarmedPipeline(settings(tmp_path, **values), tmp_path / "ledger", harm, times, greedy_rows)
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    return pipeline


def calls(tmp_path: Path) -> Counter[str]:
    """Calls of the matcher by the first row of the chunk."""
    return Counter(path.name.split("-")[0] for path in (tmp_path / "ledger").iterdir())


@pytest.mark.parametrize(
    "harm", ["kill", *(pytest.param(harm, marks=pytest.mark.long) for harm in ("exit", "raise", "hang"))]
)
@pytest.mark.setting("timeout_seconds")
def test_failed_chunk_is_retried_once(
    tmp_path: Path, own_client: Client, undisturbed: dict[str, str], harm: str
) -> None:
    pipeline = prepare(tmp_path, harm, timeout_seconds=6 if harm == "hang" else 600)

    report = pipeline.farm_chunks(lambda: own_client)
    pipeline.enrich_awards()
    pipeline.publish_awards()

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert calls(tmp_path)["21"] == 2
    assert len(calls(tmp_path)) == CHUNKS
    assert report.numbers["failed_attempts"] >= 1
    assert report.numbers["chunks_computed"] == CHUNKS


def test_failing_chunk_stops_run_keeps_rest(tmp_path: Path, own_client: Client, undisturbed: dict[str, str]) -> None:
    pipeline = prepare(tmp_path, "kill", times=99)
    notices: list[str] = []

    with (
        pytest.raises(FarmError, match=r"Chunk 2, attempt \d+, failed \(crash\): worker .* was lost") as failure,
        listening(lambda event: notices.append(event.message) if isinstance(event, Notice) else None),
    ):
        pipeline.farm_chunks(lambda: own_client)

    assert "finished chunks are kept" in str(failure.value)
    assert [notice for notice in notices if "Chunk 2, attempt 1" in notice and "retried" in notice]
    kept = {path.stem for path in pipeline.directory.checkpoints.glob("*.json")}
    assert kept
    assert calls(tmp_path)["21"] == 3

    # Without the cause, finished chunks are not computed again.
    resumed = Pipeline(pipeline.settings, "resumed")
    report = resumed.farm_chunks(lambda: own_client)
    resumed.enrich_awards()
    resumed.publish_awards()

    assert report.numbers["chunks_resumed"] == len(kept)
    assert report.numbers["chunks_computed"] == CHUNKS - len(kept)
    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed


@pytest.mark.setting("farm.max_attempts")
def test_chunk_fails_after_max_attempts(tmp_path: Path, own_client: Client) -> None:
    pipeline = prepare(tmp_path, "kill", times=99, farm={"max_attempts": 2})

    with pytest.raises(FarmError, match="Chunk 2, attempt 2, failed"):
        pipeline.farm_chunks(lambda: own_client)

    assert calls(tmp_path)["21"] == 2


@pytest.mark.long
def test_only_the_failing_chunk_is_counted(tmp_path: Path, own_client: Client) -> None:
    """Only the running chunk gets a counted attempt; the ledger has its marker."""
    pipeline = prepare(tmp_path, "kill", times=2)

    report = pipeline.farm_chunks(lambda: own_client)

    blamed = AttemptLedger(pipeline.directory.attempts).failures()
    assert {failure.chunk_id for failure in blamed if failure.counted} == {2}
    assert [failure.kind for failure in blamed if failure.chunk_id == 2] == ["crash", "crash"]
    assert all(failure.marker for failure in blamed if failure.kind == "crash")
    assert report.numbers["failed_attempts_crash"] == 2
    assert calls(tmp_path)["21"] == 3
    assert not list(pipeline.directory.attempts.glob("*.running.json"))


@pytest.mark.setting("max_quarantined_share")
def test_failing_row_is_quarantined_with_reason(tmp_path: Path, own_client: Client) -> None:
    pipeline = prepare(tmp_path, "poison", times=99, max_quarantined_share=0.05)

    report = pipeline.farm_chunks(lambda: own_client)
    pipeline.enrich_awards()
    pipeline.publish_awards()

    current = pipeline.directory.published / "current"
    rejects = pyarrow.csv.read_csv(current / "rejects.csv").to_pylist()
    assert [(row["source_row"], row["reason"]) for row in rejects if row["outcome"] == "quarantined"] == [
        (25, "ValueError: row 25 is poison")
    ]
    counted = read_json(current / "metrics.json")["reconciliation"]
    assert (counted["balanced"], counted["recipients"]["quarantined"]) == (True, 1)
    assert report.numbers["failed_attempts_data"] == 2
    assert report.numbers["rows_quarantined"] == 1
    # The other rows of the chunk got what they would have got.
    assert others(pipeline) == others(run_steps(settings(tmp_path / "plain"), lambda: own_client))


def others(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Candidates of all rows but 25."""
    store = CheckpointStore(pipeline.directory.checkpoints)
    tables = [pq.read_table(data_path(store, task.checkpoint_key)) for task in pipeline.tasks()]
    return [row for row in pa.concat_tables(tables).to_pylist() if row["source_row"] != 25]


def test_too_many_quarantined_rows_block_result(tmp_path: Path, own_client: Client) -> None:
    pipeline = prepare(tmp_path, "poison", times=99)
    pipeline.farm_chunks(lambda: own_client)
    pipeline.enrich_awards()

    with pytest.raises(PublicationBlockedError, match=r"1 of 55 recipients are quarantined: 1\.8% \(maximum 0\.1%\)"):
        pipeline.publish_awards()


@pytest.mark.setting("farm.min_part_rows")
def test_out_of_memory_chunk_is_split(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    """Next to other chunks, on workers that the nanny kills."""
    run = {"memory_threshold_mb": 600, "farm": {"min_part_rows": 1}}
    pipeline = prepare(tmp_path, "greed", times=99, greedy_rows=5, **run)

    with open_client(pipeline.settings, tmp_path / "dask") as small:
        report = pipeline.farm_chunks(lambda: small)
    pipeline.enrich_awards()
    pipeline.publish_awards()

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert report.numbers["failed_attempts_out_of_memory"] == 1
    assert report.numbers["failed_attempts_crash"] == 0
    assert report.numbers["chunks_in_parts"] == 1
    kept = CheckpointStore(pipeline.directory.checkpoints)
    assert [kept.read_record(task.checkpoint_key).parts for task in pipeline.tasks()] == [1, 1, 2, 1, 1, 1]


@pytest.mark.long
def test_out_of_memory_floor_stops_run(tmp_path: Path) -> None:
    pipeline = prepare(tmp_path, "greed", times=99, memory_threshold_mb=600, farm={"min_part_rows": 10})

    with (
        open_client(pipeline.settings, tmp_path / "dask") as small,
        pytest.raises(FarmError, match=r"Chunk 2, .*\(out of memory\): .*600 MB") as stopped,
    ):
        pipeline.farm_chunks(lambda: small)

    assert "Raise memory_threshold_mb" in str(stopped.value)
    kinds = [failure.kind for failure in AttemptLedger(pipeline.directory.attempts).failures()]
    assert [kind for kind in kinds if kind != "not started"] == ["out of memory"]


def test_full_disk_stops_run_at_once(tmp_path: Path, own_client: Client, undisturbed: dict[str, str]) -> None:
    pipeline = prepare(tmp_path, "full disk", times=99)

    with pytest.raises(EnvironmentFailureError, match=r"Chunk 2, attempt 1.*No space left.*Free disk space"):
        pipeline.farm_chunks(lambda: own_client)
    assert calls(tmp_path)["21"] == 1

    resumed = run_steps(pipeline.settings, lambda: own_client)
    assert published_bytes(resumed.settings.paths.work_dir) == undisturbed


@pytest.mark.parametrize("table", ["candidates", pytest.param("counts", marks=pytest.mark.long)])
def test_damaged_checkpoint_is_recomputed_alone(
    tmp_path: Path, client: Client, undisturbed: dict[str, str], table: str
) -> None:
    run = settings(tmp_path)
    pipeline = run_steps(run, lambda: client)
    store = CheckpointStore(pipeline.directory.checkpoints)
    key = pipeline.tasks()[1].checkpoint_key
    victim = data_path(store, key) if table == "candidates" else counts_path(store, key)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    notices: list[str] = []

    with listening(lambda event: notices.append(event.message) if isinstance(event, Notice) else None):
        report = pipeline.farm_chunks(lambda: client)
    pipeline.enrich_awards()
    pipeline.publish_awards()

    assert (report.numbers["checkpoints_damaged"], report.numbers["chunks_computed"]) == (1, 1)
    assert [notice for notice in notices if victim.name in notice]
    assert published_bytes(run.paths.work_dir) == undisturbed


@pytest.mark.parametrize(
    ("damaged", "problem"),
    [(True, "is not the file that was planned"), (False, "is missing")],
    ids=["damaged", "missing"],
)
def test_damaged_chunk_is_rebuilt_not_matched(
    tmp_path: Path, client: Client, undisturbed: dict[str, str], damaged: bool, problem: str
) -> None:
    run = settings(tmp_path)
    pipeline = Pipeline(run, "damaged")
    pipeline.ingest_awards()
    pipeline.join_companies()
    chunk = sorted(pipeline.partition_recipients().path(Output.CHUNKS).glob("0*.parquet"))[2]
    if damaged:
        data = bytearray(chunk.read_bytes())
        data[len(data) // 2] ^= 1
        chunk.write_bytes(data)
    else:
        chunk.unlink()

    with pytest.raises(FarmError, match=rf"Chunk 2, .*\(corruption\).*000002\.parquet {problem}"):
        pipeline.farm_chunks(lambda: client)
    run_steps(run, lambda: client)

    assert published_bytes(run.paths.work_dir) == undisturbed


def test_finished_run_needs_no_cluster(tmp_path: Path, client: Client) -> None:
    run = settings(tmp_path)
    run_steps(run, lambda: client)
    before = published_bytes(run.paths.work_dir)

    def no_cluster() -> Client:
        raise AssertionError("a cluster was asked for")

    pipeline = run_steps(run, no_cluster)

    reports = pipeline.directory.all_latest()
    assert all(report.reused for report in reports.values())
    assert reports[Step.CHUNK_MATCHES].numbers["chunks_computed"] == 0
    assert published_bytes(run.paths.work_dir) == before


@pytest.mark.long
def test_candidate_settings_recompute_match_settings_not(tmp_path: Path, client: Client) -> None:
    run = settings(tmp_path)
    run_steps(run, lambda: client)
    strict = run.matching.model_copy(update={"accept_probability": 1.0})
    decide = run.model_copy(update={"matching": strict, "match_rate_threshold": 0.0})
    candidates = run.model_copy(update={"matching": run.matching.model_copy(update={"min_name_overlap": 0.5})})

    decided = run_steps(decide, lambda: client).directory.all_latest()
    searched = run_steps(candidates, lambda: client).directory.all_latest()

    assert decided[Step.CHUNK_MATCHES].numbers["chunks_computed"] == 0
    assert (
        decided[Step.ENRICHED_AWARDS].numbers["awards_matched"]
        < searched[Step.ENRICHED_AWARDS].numbers["awards_matched"]
    )
    assert searched[Step.CHUNK_MATCHES].numbers["chunks_computed"] == CHUNKS


def test_changed_input_ignores_stale_checkpoints(tmp_path: Path, client: Client) -> None:
    run = settings(tmp_path)
    run_steps(run, lambda: client)
    assert run.inputs.awards is not None
    awards = Path(run.inputs.awards)
    text = awards.read_text("utf-8")
    awards.write_text(text.replace("Nobody Knows Us Corporation", "Unrelated Vendor Number 3 DDD"), "utf-8")

    report = run_steps(run, lambda: client).directory.all_latest()[Step.CHUNK_MATCHES]

    assert report.numbers["chunks_resumed"] == 0


def test_other_index_stops_run_at_once(tmp_path: Path, client: Client) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    # An index of its own: a worker that has one open already does not look at the files again.
    awards.write_text(awards.read_text("utf-8").replace("Nobody Knows Us", "Nobody Ever Knew Us"), "utf-8")
    pipeline = Pipeline(settings(tmp_path, inputs=(awards, recipients)), "swapped")
    pipeline.ingest_awards()
    index = pipeline.join_companies().path(Output.INDEX)
    pipeline.partition_recipients()

    class Swapping:
        """Swaps the index after the driver looked at it, before any worker does."""

        def __call__(self) -> Client:
            largest = max(index.glob("*.npy"), key=lambda path: path.stat().st_size)
            largest.write_bytes(largest.read_bytes()[:-1])
            return client

    with pytest.raises(IndexMismatchError, match=r"cannot be used on .*not the file that was written"):
        pipeline.farm_chunks(Swapping())


@pytest.mark.setting("cluster.start_timeout_seconds")
def test_cluster_without_workers_stops_run(tmp_path: Path) -> None:
    pipeline = Pipeline(settings(tmp_path, cluster={"start_timeout_seconds": 1}), "no workers")
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()

    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as empty,
        pytest.raises(FarmError, match=r"no worker for 1 seconds\. Start workers\..*finished chunks are kept"),
    ):
        pipeline.farm_chunks(lambda: empty)


@pytest.mark.long
def test_scaling_during_run_changes_nothing(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    run = settings(tmp_path, chunk_size=2)
    pipeline = Pipeline(run, "scaled")
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as scaled,
    ):
        finished = 0

        def scale(event: Event) -> None:
            nonlocal finished
            if isinstance(event, FarmProgress) and event.chunks_done > finished:
                finished = event.chunks_done
                if finished == 3:
                    cluster.scale(3)
                elif finished == 15:
                    cluster.scale(1)

        with listening(scale):
            pipeline.farm_chunks(lambda: scaled)
        pipeline.enrich_awards()
        pipeline.publish_awards()

    assert finished == len(pipeline.tasks())
    assert published_bytes(run.paths.work_dir) == undisturbed
