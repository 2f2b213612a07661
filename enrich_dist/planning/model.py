"""The cost model of a run: from what is to be done, and how fast it is done, to seconds by stage and bytes by place.

Pure arithmetic. With R source rows in chunks of S rows, C = ⌈R / S⌉ chunks, w workers, A awards, K candidates, and y,
the seconds of the yardstick on this machine now (constants are in yardsticks: ``constants``):

    start_up          y·a₀
    sbir_awards       y·(b₀ + b₁·A), or as measured while the plan was made
    award_companies   y·(c₀ + c₁·A), or as measured
    recipient_chunks  y·d₀ + max(d₁·p·R, chunk bytes / disk bytes per second), p: measured seconds per row of the sample
    chunk_matches     wait + y·e₀ + max(workers, driver, cores, disk)
        wait          max(0, y·e₁ - the three stages before): the cluster starts beside them
        workers       ⌈C / w⌉ · t, t = e₃·κ(w)·(m·S + n): m per row and n per chunk are measured on the sample
        driver        C · y·e₂
        cores         (C · t + C · y·e₂) / cores, where the workers are on this machine
        disk          (chunk bytes + checkpoint bytes) / disk bytes per second
    enriched_awards   y·(f₀ + f₁·A + f₂·K + f₃·C)
    published_awards  y·(g₀ + g₁·A)
    report            y·h₀

κ(w) is the contention: how much slower a core is when min(w, cores) of them are busy, as measured; on this machine w
workers on fewer cores share them, so that κ grows by w / cores. Does not cover failures, queues of a cluster, networks,
nor object stores.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from enrich_dist.events import Step
from enrich_dist.planning.constants import Constant
from enrich_dist.planning.stages import STAGES


@dataclass(frozen=True)
class Workload:
    """What is to be done. Per-row figures are means over source rows."""

    source_rows: int
    recipients: int
    """Valid rows of them."""
    awards: int
    companies: int
    candidates_per_row: float
    chunk_row_bytes: float
    candidate_row_bytes: float
    """Of the checkpoints' candidates, per source row."""
    counts_bytes: float
    """Of a checkpoint's counts, in a chunk of ``counts_rows`` rows; others by the power ``counts_power``."""
    counts_rows: int
    counts_power: float
    inputs_bytes: int
    """Of awards, companies and index as they lie in the run directory."""
    chunk_file_bytes: float = 0.0
    """Of a chunk's file, whatever its rows."""
    candidates_file_bytes: float = 0.0
    """Of a checkpoint's candidates, whatever their number."""

    def chunks(self, chunk_size: int) -> int:
        """Chunks of ``chunk_size`` source rows."""
        return max(1, -(-self.source_rows // chunk_size))

    @property
    def candidates(self) -> float:
        """Candidates in all checkpoints."""
        return self.candidates_per_row * self.source_rows

    def chunk_bytes(self, chunk_size: int) -> float:
        """Of all chunk files, of ``chunk_size`` rows each."""
        return self.chunk_row_bytes * self.source_rows + self.chunk_file_bytes * self.chunks(chunk_size)

    def checkpoint_bytes(self, chunk_size: int) -> float:
        """Of all checkpoints, in chunks of ``chunk_size`` rows."""
        rows = min(chunk_size, self.source_rows)
        counts = self.counts_bytes * math.pow(rows / self.counts_rows, self.counts_power)
        return self.candidate_row_bytes * self.source_rows + (counts + self.candidates_file_bytes) * self.chunks(
            chunk_size
        )


@dataclass(frozen=True)
class Speed:
    """How fast it is done here and now; measured when the plan was made."""

    yardstick_seconds: float
    cores: int
    contention: float
    """Seconds of a core when all are busy, over those when it is alone; at least 1."""
    disk_bytes_per_second: float
    partition_row_seconds: float
    match_row_seconds: float
    chunk_seconds: float
    """Of a worker, per chunk, whatever its size."""
    measured_seconds: Mapping[str, float]
    """Stages that were done when the plan was made, by name."""
    scatter: float = 0.0
    """Relative scatter of the sample's chunks and of the machine, as measured."""


@dataclass(frozen=True)
class Cluster:
    """Workers of one core each. ``local``: all of them on this machine."""

    workers: int
    local: bool = True


@dataclass(frozen=True)
class StageTime:
    """Expected seconds of a stage with an interval."""

    stage: str
    seconds: float
    low_seconds: float
    high_seconds: float


@dataclass(frozen=True)
class Farm:
    """The seconds that each bound alone would ask of the farm; it takes the largest."""

    workers_seconds: float
    driver_seconds: float
    cores_seconds: float
    disk_seconds: float

    @property
    def seconds(self) -> float:
        """Of the farm while chunks are out."""
        return max(self.workers_seconds, self.driver_seconds, self.cores_seconds, self.disk_seconds)

    @property
    def limit(self) -> str:
        """What bounds it."""
        bounds = {
            "workers": self.workers_seconds,
            "driver and scheduler": self.driver_seconds,
            "cores of this machine": self.cores_seconds,
            "disk": self.disk_seconds,
        }
        return max(bounds, key=lambda name: bounds[name])


def contention(speed: Speed, cluster: Cluster) -> float:
    """κ(w): seconds of a chunk beside the others over those alone."""
    if not cluster.local:
        return speed.contention  # their machines are as busy as they can be
    busy = min(cluster.workers, speed.cores)
    share = (busy - 1) / (speed.cores - 1) if speed.cores > 1 else 1.0
    return (1 + (speed.contention - 1) * share) * max(1.0, cluster.workers / speed.cores)


def chunk_seconds(speed: Speed, cluster: Cluster, rows: int) -> float:
    """Seconds of a worker for a chunk of so many rows, beside the other workers."""
    return contention(speed, cluster) * (speed.match_row_seconds * rows + speed.chunk_seconds)


def farm(work: Workload, speed: Speed, k: Mapping[str, Constant], cluster: Cluster, chunk_size: int) -> Farm:
    """The bounds of the farm."""
    beside = k["farm_beside"].value
    speed = replace(
        speed, match_row_seconds=beside * speed.match_row_seconds, chunk_seconds=beside * speed.chunk_seconds
    )
    chunks = work.chunks(chunk_size)
    rows = min(chunk_size, work.source_rows)
    alone = speed.match_row_seconds * rows + speed.chunk_seconds
    each = chunk_seconds(speed, cluster, rows)
    # The last chunk is as small as the rest that is left: of one chunk per worker it is what counts.
    last_rows = work.source_rows - (chunks - 1) * rows
    waves = math.ceil(chunks / cluster.workers)
    last_alone = (chunks - 1) % cluster.workers == 0 and waves > 1
    last = chunk_seconds(speed, cluster, last_rows) if last_alone else each
    driver = chunks * k["driver_chunk"].value * speed.yardstick_seconds
    total_rows_seconds = speed.match_row_seconds * work.source_rows + speed.chunk_seconds * chunks
    busy_contention = contention(speed, Cluster(min(cluster.workers, speed.cores), cluster.local))
    moved = work.chunk_bytes(chunk_size) + work.checkpoint_bytes(chunk_size)
    return Farm(
        workers_seconds=(waves - 1) * each + last if chunks > 1 else contention(speed, Cluster(1)) * alone,
        driver_seconds=driver,
        cores_seconds=(busy_contention * total_rows_seconds + driver) / speed.cores if cluster.local else 0.0,
        disk_seconds=moved / speed.disk_bytes_per_second,
    )


def stage_times(
    work: Workload,
    speed: Speed,
    k: Mapping[str, Constant],
    cluster: Cluster,
    chunk_size: int,
    *,
    reused: Collection[str] = (),
    factors: Mapping[str, float] | None = None,
) -> tuple[StageTime, ...]:
    """Expected seconds of all stages, in their order. ``reused``: stages whose output is there already; ``factors``: by
    what earlier runs make a stage slower or faster than the model (``refine``)."""
    y = speed.yardstick_seconds
    chunks, awards = work.chunks(chunk_size), work.awards

    def yardsticks(**times: float) -> float:
        return y * sum(k[name].value * count for name, count in times.items())

    read = max(
        k["partition_beside"].value * speed.partition_row_seconds * work.source_rows,
        work.chunk_bytes(chunk_size) / speed.disk_bytes_per_second,
    )
    modelled = {
        "start_up": yardsticks(start_up=1),
        Step.SBIR_AWARDS: yardsticks(awards_fixed=1, awards_row=awards),
        Step.AWARD_COMPANIES: yardsticks(companies_fixed=1, companies_award=awards),
        Step.RECIPIENT_CHUNKS: yardsticks(partition_fixed=1) + read,
        Step.ENRICHED_AWARDS: yardsticks(
            reduce_fixed=1, reduce_award=awards, reduce_candidate=work.candidates, reduce_chunk=chunks
        ),
        Step.PUBLISHED_AWARDS: yardsticks(publish_fixed=1, publish_award=awards),
        "report": yardsticks(report_fixed=1),
    }
    seconds = {**modelled, **speed.measured_seconds}
    there = yardsticks(reused=1)
    for stage in seconds:
        if stage in reused:
            seconds[stage] = min(seconds[stage], there)
        else:
            seconds[stage] *= (factors or {}).get(stage, 1.0)
    before = sum(seconds[stage] for stage in (Step.SBIR_AWARDS, Step.AWARD_COMPANIES, Step.RECIPIENT_CHUNKS))
    out = farm(work, speed, k, cluster, chunk_size).seconds + yardsticks(farm_fixed=1)
    matched = (max(0.0, yardsticks(cluster_start=1) - before) + out) * (factors or {}).get(Step.CHUNK_MATCHES, 1.0)
    seconds[Step.CHUNK_MATCHES] = there if Step.CHUNK_MATCHES in reused else matched
    return tuple(_stage(stage, seconds[stage], speed, k) for stage in STAGES)


def _stage(stage: str, seconds: float, speed: Speed, k: Mapping[str, Constant]) -> StageTime:
    spread = math.hypot(k[f"spread_{stage}"].value, speed.scatter)
    return StageTime(stage, seconds, low_seconds=seconds / (1 + spread), high_seconds=seconds * (1 + spread))


@dataclass(frozen=True)
class Disk:
    """Bytes that a run leaves in its directory."""

    inputs_bytes: float
    chunks_bytes: float
    checkpoints_bytes: float
    results_bytes: float
    """Of the result and its published copy."""

    @property
    def total_bytes(self) -> float:
        """All of it."""
        return self.inputs_bytes + self.chunks_bytes + self.checkpoints_bytes + self.results_bytes


def disk(work: Workload, k: Mapping[str, Constant], chunk_size: int) -> Disk:
    """Bytes on disk at the end of a run."""
    return Disk(
        inputs_bytes=work.inputs_bytes,
        chunks_bytes=work.chunk_bytes(chunk_size),
        checkpoints_bytes=work.checkpoint_bytes(chunk_size),
        results_bytes=2 * (k["result_fixed_bytes"].value + k["result_award_bytes"].value * work.awards),
    )


def total(stages: tuple[StageTime, ...]) -> StageTime:
    """The wall time: the sum, with the interval of stages that err on their own."""
    seconds = sum(stage.seconds for stage in stages)
    return StageTime(
        "total",
        seconds,
        low_seconds=seconds - math.hypot(*(stage.seconds - stage.low_seconds for stage in stages)),
        high_seconds=seconds + math.hypot(*(stage.high_seconds - stage.seconds for stage in stages)),
    )
