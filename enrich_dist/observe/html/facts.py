"""What the files of a run directory say about its latest run: all that a report shows, and nothing is computed twice.

Quality comes from the metrics document and the verdict of the latest result, time and counts from the steps' records,
memory from the records of the chunks. Covers gathering. Does not say what is shown of it (``sections``).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from enrich_dist import doctor
from enrich_dist.errors import CorruptionError, EnrichError, StateError
from enrich_dist.farm.attempts import FailedAttempt
from enrich_dist.observe.chunk_log import read_chunk_log
from enrich_dist.observe.events import AttemptTimes
from enrich_dist.observe.html.history import RunSummary, read_baseline, read_history, summarise
from enrich_dist.observe.memory import WorkerMemory, memory_per_worker
from enrich_dist.observe.worker_log import WorkerHistory
from enrich_dist.result.publish import CURRENT
from enrich_dist.result.reliability import Reliability, ReliabilityBin, measure_reliability
from enrich_dist.result.undecided import Candidates, read_candidates
from enrich_dist.store.checkpoints import CheckpointRecord
from enrich_dist.store.directories import open_unverified
from enrich_dist.store.files import read_json, write_json
from enrich_dist.store.rundir import RunDirectory, StepReport

COMPANIES_SHOWN = 50


@dataclass(frozen=True)
class UsedSetting:
    """A setting of the run: dotted key, value as text, and where it came from."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class RunFacts:
    """The latest run of a work directory.

    ``published``: whether this very result is the published one; ``records``: of the finished chunks, by chunk number;
    ``reliability``: a sentence where it could not be measured; ``settings``: empty where the run did not record them;
    ``history``: reported runs before this one, the oldest first.
    """

    steps: Mapping[str, StepReport]
    metrics: Mapping[str, Any]
    verdict: Mapping[str, Any]
    published: bool
    records: Mapping[int, CheckpointRecord]
    workers: tuple[WorkerMemory, ...]
    histories: tuple[WorkerHistory, ...]
    attempts: tuple[AttemptTimes, ...]
    failures: tuple[FailedAttempt, ...]
    candidates: Candidates
    reliability: Reliability | str
    settings: tuple[UsedSetting, ...]
    summary: RunSummary
    history: tuple[RunSummary, ...]
    baseline: RunSummary | None

    @property
    def passed(self) -> bool:
        """Whether the verdict lets the result be published."""
        return bool(self.verdict["status"] == "passed")

    @property
    def previous(self) -> RunSummary | None:
        """The run that was reported before this one."""
        return self.history[-1] if self.history else None

    @property
    def status(self) -> str:
        """What became of the result, in a few words."""
        if not self.passed:
            return "blocked"
        return "published" if self.published else "passed, not published yet"


def gather(directory: RunDirectory, *, baseline: Path | None = None) -> RunFacts:
    """Read the facts of the latest run; ``baseline`` is a file, instead of that of the directory.

    Raises ``StateError`` when nothing was judged there yet, ``CorruptionError`` when a file cannot be read.
    """
    steps = directory.all_latest()
    if "enriched_awards" not in steps:
        raise StateError(
            f"{directory.root} holds no judged result to report.", remedy="Run the job first: enrich-dist run"
        )
    result = Path(steps["enriched_awards"].paths["result"])
    record = directory.steps / "enriched_awards.json"
    try:
        metrics, verdict = read_json(result / "metrics.json"), read_json(result / "verdict.json")
        candidates = read_candidates(result, directory.scratch, limit=COMPANIES_SHOWN)
        content = open_unverified(result).content_digest
    except FileNotFoundError as error:
        raise StateError(f"{result} is not there any more.", remedy="Run `enrich-dist run` again.") from error
    findings = doctor.examine(directory)
    records = {chunk.chunk_id: chunk.record for chunk in findings.chunks if chunk.record is not None}
    current = directory.published / CURRENT
    published = current.exists() and current.resolve().name == content[:24]
    status = "published" if published else "passed" if verdict["status"] == "passed" else "blocked"
    summary = summarise(steps, status, record.stat().st_mtime)
    if baseline is None and directory.baseline.exists():
        baseline = directory.baseline
    return RunFacts(
        steps=steps,
        metrics=metrics,
        verdict=verdict,
        published=published,
        records=records,
        workers=tuple(memory_per_worker(records.values())),
        histories=tuple(findings.workers),
        attempts=tuple(read_chunk_log(directory.chunk_log)),
        failures=tuple(failure for chunk in findings.chunks for failure in chunk.failures),
        candidates=candidates,
        reliability=_reliability(directory, content),
        settings=_settings(directory, summary.run_id),
        summary=summary,
        history=tuple(run for run in read_history(directory.run_history) if run.key != summary.key),
        baseline=None if baseline is None else read_baseline(baseline),
    )


def _reliability(directory: RunDirectory, content: str) -> Reliability | str:
    """Measured once for a result and kept: the report is made when it is judged, and again when it is published."""
    kept = directory.steps / "reliability.json"
    with suppress(OSError, CorruptionError, KeyError, TypeError):
        document = read_json(kept)
        if document["result"] == content:
            bins = tuple(ReliabilityBin(**item) for item in document["reliability"].pop("bins"))
            return Reliability(**document["reliability"], bins=bins)
    try:
        measured = measure_reliability(directory)
    except EnrichError as error:
        return f"It could not be measured: {error.message}"
    with suppress(OSError):  # a report of a directory that cannot be written to
        write_json(kept, {"result": content, "reliability": asdict(measured)})
    return measured


def _settings(directory: RunDirectory, run_id: str) -> tuple[UsedSetting, ...]:
    try:
        document = read_json(directory.used_settings)
        if document["run_id"] != run_id:
            return ()
        return tuple(
            UsedSetting(key, "null" if item["value"] is None else str(item["value"]), str(item["origin"]))
            for key, item in sorted(document["settings"].items())
        )
    except (FileNotFoundError, CorruptionError, KeyError, TypeError):
        return ()
