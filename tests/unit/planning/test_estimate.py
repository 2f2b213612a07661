"""Estimates: sums, monotony, bottlenecks, intervals and corrections by earlier runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.planning.earlier_runs import MAX_RUNS, comparable_runs, corrections
from enrich_dist.planning.estimate import (
    STAGES,
    Cluster,
    Correction,
    Rates,
    Workload,
    disk,
    matching_time,
    slowdown,
    stage_times,
    total,
)
from enrich_dist.planning.prediction import MADE_BY_PLAN
from tests.support.histories import MACHINE, RESTARTED, STAGE_SECONDS, a_run, vary
from tests.support.predictions import RATES, WORK, prediction

positive = st.floats(1e-7, 1e-2)
workloads = st.builds(
    Workload,
    source_rows=st.integers(1, 10**9),
    recipients=st.integers(1, 10**9),
    awards=st.integers(1, 10**6),
    companies=st.integers(1, 10**5),
    candidates_per_row=st.floats(0, 10),
    chunk_row_bytes=st.floats(1, 500),
    candidate_row_bytes=st.floats(0, 500),
    counts_bytes=st.floats(0, 10**6),
    inputs_bytes=st.integers(0, 10**9),
)
rates = st.builds(
    Rates,
    cores=st.integers(1, 128),
    partition_row_seconds=positive,
    match_row_seconds=positive,
    measured_seconds=st.just({}),
    spread=st.floats(0, 1),
)
chunk_sizes = st.integers(1, 500_000)


@given(workloads, rates, chunk_sizes, st.integers(1, 1000), st.booleans())
def test_parts_add_up(work: Workload, rate: Rates, chunk_size: int, workers: int, local: bool) -> None:
    stages = stage_times(work, rate, Cluster(workers, local), chunk_size)
    whole, used = total(stages), disk(work, chunk_size)

    assert [stage.stage for stage in stages] == list(STAGES)
    assert whole.seconds == pytest.approx(sum(stage.seconds for stage in stages))
    assert all(0 <= stage.low_seconds <= stage.seconds <= stage.high_seconds for stage in (*stages, whole))
    parts = (used.inputs_bytes, used.chunks_bytes, used.checkpoints_bytes, used.results_bytes)
    assert used.total_bytes == pytest.approx(sum(parts))
    assert min(parts) >= 0


@given(workloads, rates, chunk_sizes, st.integers(1, 1000), st.integers(1, 10**8), st.booleans())
def test_more_rows_take_longer(
    work: Workload, rate: Rates, chunk_size: int, workers: int, more: int, local: bool
) -> None:
    cluster, larger = Cluster(workers, local), replace(work, source_rows=work.source_rows + more)

    few = matching_time(work, rate, cluster, chunk_size).seconds
    many = matching_time(larger, rate, cluster, chunk_size).seconds

    assert few <= many * (1 + 1e-9)


@given(workloads, rates, chunk_sizes, st.integers(1, 1000), st.integers(1, 1000))
def test_more_machines_are_never_slower(work: Workload, rate: Rates, chunk_size: int, workers: int, more: int) -> None:
    def wall(count: int) -> float:
        return total(stage_times(work, rate, Cluster(count, local=False), chunk_size)).seconds

    assert wall(workers + more) <= wall(workers) * (1 + 1e-9)


def test_local_workers_share_cores() -> None:
    assert slowdown(RATES, Cluster(1)) == (1, 1, 1)
    assert slowdown(RATES, Cluster(2)) == pytest.approx((2**0.5, 1, 2))
    assert slowdown(RATES, Cluster(8)) == pytest.approx((4 * 2**0.5, 4, 8))
    assert slowdown(RATES, Cluster(8, local=False))[0] == 1


def test_bottleneck_is_named() -> None:
    assert matching_time(WORK, RATES, Cluster(2, local=False), 50_000).limit == "workers"
    assert matching_time(WORK, RATES, Cluster(10_000, local=False), 100).limit == "driver and scheduler"


def test_reused_stages_cost_next_to_nothing() -> None:
    fresh, following = prediction().stages(), {stage.stage: stage for stage in prediction().stages(MADE_BY_PLAN)}

    assert total(tuple(following.values())).seconds < total(fresh).seconds
    assert all(following[stage].seconds < 0.1 for stage in MADE_BY_PLAN)


def test_earlier_runs_correct_the_estimate() -> None:
    work = replace(WORK, awards=11_446, recipients=96_666)
    stages = stage_times(work, RATES, Cluster(2), 50_000)
    runs = comparable_runs([a_run()] * 3, work, MACHINE.digest)

    found = corrections(stages, work, runs, a_run().workload_settings)
    corrected = {s.stage: s for s in stage_times(work, RATES, Cluster(2), 50_000, corrections=found)}

    reduce = corrected["enriched_awards"]
    assert found["enriched_awards"].runs == 3
    assert reduce.seconds == pytest.approx(STAGE_SECONDS["enriched_awards"])
    assert reduce.low_seconds < reduce.seconds < reduce.high_seconds < 1.5 * reduce.seconds
    assert "start_up" not in found


def test_interval_spans_earlier_runs() -> None:
    correction = {"enriched_awards": Correction(median=2.0, low=1.0, high=6.0, runs=3)}
    plain = {s.stage: s for s in stage_times(WORK, RATES, Cluster(2), 50_000)}["enriched_awards"]
    wide = {s.stage: s for s in stage_times(WORK, RATES, Cluster(2), 50_000, corrections=correction)}

    stage = wide["enriched_awards"]
    assert stage.seconds == pytest.approx(2 * plain.seconds)
    assert stage.low_seconds <= plain.seconds
    assert stage.high_seconds >= 6 * plain.seconds


def test_only_comparable_runs_count() -> None:
    work = replace(WORK, awards=11_446, recipients=96_666)

    assert comparable_runs([a_run()], work, "another machine") == []
    assert comparable_runs([a_run()], replace(work, recipients=1_000_000), MACHINE.digest) == []
    assert comparable_runs([vary(a_run(), numbers=RESTARTED)], work, MACHINE.digest) == []
    assert len(comparable_runs([a_run()] * 9, work, MACHINE.digest)) == MAX_RUNS


def test_matching_needs_equal_settings() -> None:
    first = a_run()
    work = replace(WORK, awards=first.awards.valid_rows, recipients=first.recipients.valid_rows)
    others = {**first.workload_settings, "chunk_size": "1"}

    assert "chunk_matches" in corrections(prediction().stages(), work, [first], first.workload_settings)
    assert "chunk_matches" not in corrections(prediction().stages(), work, [first], others)
