"""Estimate the seconds of each stage and the bytes on disk of a run. Pure arithmetic.

Three sources, the best first: a stage that the plan itself ran, rates that the trial measured on a sample, and rough
rates of one machine (``ROUGH_SECONDS``). Earlier runs on this machine correct all three by a factor per stage. Without
earlier runs the intervals are wide. Does not cover failures, queues of a cluster, networks or object stores.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from enrich_dist.events import Step

STAGES: Final = ("start_up", *Step, "report")
"""The steps of a run, what comes before them and what comes after them."""

ROUGH_SECONDS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "start_up": 6.0,  # Python, Dagster and the cluster
        "partition": 0.5,
        "matching": 0.5,  # checking checkpoints, and the first chunk of each worker
        "reduce": 0.4,
        "reduce_award": 30e-6,
        "reduce_candidate": 6e-6,
        "reduce_chunk": 2e-3,
        "publish": 0.05,
        "report": 1.0,
        "reused": 0.05,
        "chunk": 0.02,  # fixed cost of a chunk on a worker
        "driver_chunk": 0.01,  # CPU of driver and scheduler per chunk (scripts/simulate_cluster.py)
    }
)
"""Seconds on a machine with two threads of a 2.5 GHz core, rounded. Only a first guess: the interval spans a factor of
four, and the first finished run replaces it."""
RESULT_BYTES: Final = 1_750_000
RESULT_AWARD_BYTES: Final = 430
"""Bytes of a result directory: fixed, and per award (runs of 11,000 to 100,000 awards)."""

_ROUGH_SPREAD: Final = 1.0  # interval from half to twice
_TRIAL_SPREAD: Final = 0.3
# Threads of one physical core, shared caches and memory: two busy workers may take up to twice as long as one.
_MAX_SLOWDOWN: Final = 2.0


@dataclass(frozen=True)
class Workload:
    """What is to be done. ``recipients`` are valid source rows; per-row figures are means over all source rows.

    Bytes: a row in a chunk file, its candidates in checkpoints, the counts of a checkpoint, and awards, companies and
    index together.
    """

    source_rows: int
    recipients: int
    awards: int
    companies: int
    candidates_per_row: float
    chunk_row_bytes: float
    candidate_row_bytes: float
    counts_bytes: float
    inputs_bytes: int

    def chunks(self, chunk_size: int) -> int:
        """Return the number of chunks of ``chunk_size`` source rows."""
        return max(1, -(-self.source_rows // chunk_size))

    @property
    def candidates(self) -> float:
        """Candidates in all checkpoints."""
        return self.candidates_per_row * self.source_rows


@dataclass(frozen=True)
class Rates:
    """Rates measured on this machine while the plan was made. ``measured_seconds``: stages that the plan itself ran.
    ``spread``: relative spread of the seconds per row between the chunks of the trial."""

    cores: int
    partition_row_seconds: float
    match_row_seconds: float
    measured_seconds: Mapping[str, float]
    spread: float = 0.0


@dataclass(frozen=True)
class Correction:
    """What earlier runs took, relative to the estimate for them: median, smallest and largest of ``runs`` ratios."""

    median: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True)
class Cluster:
    """Workers of one core each. ``local``: all of them on this machine."""

    workers: int
    local: bool = True


@dataclass(frozen=True)
class StageTime:
    """Expected seconds of a stage, with an interval."""

    stage: str
    seconds: float
    low_seconds: float
    high_seconds: float


@dataclass(frozen=True)
class MatchingTime:
    """Seconds that workers, and driver and scheduler, each need for all chunks; matching takes the larger."""

    workers_seconds: float
    driver_seconds: float

    @property
    def seconds(self) -> float:
        """Seconds of matching."""
        return max(self.workers_seconds, self.driver_seconds)

    @property
    def limit(self) -> str:
        """Name of the bottleneck."""
        return "workers" if self.workers_seconds >= self.driver_seconds else "driver and scheduler"


@dataclass(frozen=True)
class Disk:
    """Bytes that a run leaves in its directory. Published files share those of the result by hard links."""

    inputs_bytes: float
    chunks_bytes: float
    checkpoints_bytes: float
    results_bytes: float

    @property
    def total_bytes(self) -> float:
        """All bytes."""
        return self.inputs_bytes + self.chunks_bytes + self.checkpoints_bytes + self.results_bytes


def slowdown(rates: Rates, cluster: Cluster) -> tuple[float, float, float]:
    """Return (expected, lowest, highest) seconds of a chunk relative to a worker alone on a core.

    Workers beyond the cores of this machine share them. Busy cores slow each other down by an unknown factor of at most
    ``_MAX_SLOWDOWN``: the geometric mean is expected. Workers on other machines are taken to be alone.
    """
    if not cluster.local:
        return 1.0, 1.0, math.sqrt(_MAX_SLOWDOWN)
    shared = max(1.0, cluster.workers / rates.cores)
    if min(cluster.workers, rates.cores) == 1:
        return shared, shared, shared
    return shared * math.sqrt(_MAX_SLOWDOWN), shared, shared * _MAX_SLOWDOWN


def chunk_seconds(rates: Rates, cluster: Cluster, rows: int) -> float:
    """Return the expected worker seconds for a chunk of ``rows`` rows."""
    return slowdown(rates, cluster)[0] * (rates.match_row_seconds * rows + ROUGH_SECONDS["chunk"])


def matching_time(work: Workload, rates: Rates, cluster: Cluster, chunk_size: int) -> MatchingTime:
    """Return the expected seconds of matching by bottleneck: chunks are worked through in waves of one per worker."""
    chunks = work.chunks(chunk_size)
    rows = min(chunk_size, work.source_rows)
    waves = math.ceil(chunks / cluster.workers)
    # A last wave of one chunk is as short as the remaining rows.
    alone_in_last_wave = (chunks - 1) % cluster.workers == 0
    last_rows = work.source_rows - (chunks - 1) * rows if alone_in_last_wave else rows
    each, last = chunk_seconds(rates, cluster, rows), chunk_seconds(rates, cluster, last_rows)
    return MatchingTime((waves - 1) * each + last, chunks * ROUGH_SECONDS["driver_chunk"])


def stage_times(
    work: Workload,
    rates: Rates,
    cluster: Cluster,
    chunk_size: int,
    *,
    reused: Collection[str] = (),
    corrections: Mapping[str, Correction] | None = None,
) -> tuple[StageTime, ...]:
    """Return the expected seconds of all ``STAGES``. ``reused``: stages whose output exists already."""
    rough = ROUGH_SECONDS
    matching = matching_time(work, rates, cluster, chunk_size)
    seconds = {
        "start_up": rough["start_up"],
        Step.RECIPIENT_CHUNKS: rough["partition"] + rates.partition_row_seconds * work.source_rows,
        Step.CHUNK_MATCHES: rough["matching"] + matching.seconds,
        Step.ENRICHED_AWARDS: rough["reduce"]
        + rough["reduce_award"] * work.awards
        + rough["reduce_candidate"] * work.candidates
        + rough["reduce_chunk"] * work.chunks(chunk_size),
        Step.PUBLISHED_AWARDS: rough["publish"],
        "report": rough["report"],
        # Both are measured where the plan ran them; their share of what follows is small.
        Step.SBIR_AWARDS: rough["reduce"] + rough["reduce_award"] * work.awards,
        Step.AWARD_COMPANIES: rough["reduce"] + rough["reduce_award"] * work.awards,
        **rates.measured_seconds,
    }
    expected, lowest, highest = slowdown(rates, cluster)
    trial = math.hypot(_TRIAL_SPREAD, rates.spread)
    times = []
    for stage in STAGES:
        if stage in reused:
            times.append(StageTime(stage, rough["reused"], 0.0, 10 * rough["reused"]))
            continue
        correction = (corrections or {}).get(stage)
        value = seconds[stage] * (correction.median if correction else 1.0)
        if correction:
            low = correction.low / correction.median / (1 + _TRIAL_SPREAD)
            high = correction.high / correction.median * (1 + _TRIAL_SPREAD)
        elif stage == Step.CHUNK_MATCHES:
            low, high = lowest / expected / (1 + trial), highest / expected * (1 + trial)
        else:
            spread = trial if stage in rates.measured_seconds or stage == Step.RECIPIENT_CHUNKS else _ROUGH_SPREAD
            low, high = 1 / (1 + spread), 1 + spread
        times.append(StageTime(stage, value, low * value, high * value))
    return tuple(times)


def total(stages: tuple[StageTime, ...]) -> StageTime:
    """Return the wall time. The interval is the sum of those of the stages: their errors have common causes."""
    figures = ((stage.seconds, stage.low_seconds, stage.high_seconds) for stage in stages)
    return StageTime("total", *map(sum, zip(*figures, strict=True)))


def disk(work: Workload, chunk_size: int) -> Disk:
    """Return the bytes on disk at the end of a run."""
    return Disk(
        inputs_bytes=work.inputs_bytes,
        chunks_bytes=work.chunk_row_bytes * work.source_rows,
        checkpoints_bytes=work.candidate_row_bytes * work.source_rows + work.counts_bytes * work.chunks(chunk_size),
        results_bytes=RESULT_BYTES + RESULT_AWARD_BYTES * work.awards,
    )
