"""The run directory: its paths, and the latest report of each step.

The directory is the interface between steps, runs and tools. A step finds its input through the report of the previous
step. Paths inside the directory are recorded relative to it, so that it can be moved or copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.files import read_json, write_json
from enrich_dist.core.json_documents import JsonCodec
from enrich_dist.core.owned_files import remove_temporaries
from enrich_dist.core.resource_usage import Meter
from enrich_dist.errors import CorruptionError, SettingsError, StateError
from enrich_dist.events import Step, StepFinished, StepStarted, emit, warning_on_error
from enrich_dist.plain_text import printable
from enrich_dist.remedies import REBUILD

STEPS: Final = tuple(Step)


class Output(Enum):
    """Directories that one step writes and others read: the step, and the name in ``StepReport.paths``."""

    AWARDS = (Step.SBIR_AWARDS, "awards")
    COMPANIES = (Step.AWARD_COMPANIES, "companies")
    INDEX = (Step.AWARD_COMPANIES, "index")
    CHUNKS = (Step.RECIPIENT_CHUNKS, "chunks")
    RESULT = (Step.ENRICHED_AWARDS, "result")

    @property
    def step(self) -> Step:
        """The step that writes it."""
        return self.value[0]


class Number(StrEnum):
    """Numbers of step reports that the code reads; other numbers are only displayed."""

    ROWS_READ = "rows_read"
    INDEX_BYTES = "index_bytes"
    CHUNK_SIZE_ROWS = "chunk_size_rows"
    SOURCE_ROWS = "source_rows"
    CHUNKS = "chunks"
    CHUNKS_COMPUTED = "chunks_computed"
    CHUNKS_RESUMED = "chunks_resumed"
    FAILED_ATTEMPTS = "failed_attempts"
    WORKER_RESTARTS = "worker_restarts"
    WORKERS = "workers"
    FARM_SECONDS = "farm_seconds"
    FARM_RECORDS_PER_SECOND = "farm_records_per_second"
    WORKER_PEAK_MEMORY_MB = "worker_peak_memory_mb"
    RUN_WORKER_PEAK_MEMORY_MB = "run_worker_peak_memory_mb"
    WORKERS_MEMORY_SUM_MB = "workers_memory_sum_mb"
    WORKER_PROJECTED_PEAK_MEMORY_MB = "worker_projected_peak_memory_mb"
    MATCH_RATE = "match_rate"
    MATCH_RATE_THRESHOLD = "match_rate_threshold"
    VERDICT_PASSED = "verdict_passed"


@dataclass(frozen=True)
class StepReport:
    """The report of a step.

    ``rows``: of its output; ``numbers``: by stable names with units; ``tables``: Markdown by title; ``paths``: absolute
    here, relative in the file; ``digests``: BLAKE3 of files that the step read, by their names in ``paths``;
    ``reused``: whether a valid output existed already.
    """

    step: Step
    run_id: str
    rows: int
    seconds: float
    peak_memory_bytes: int
    reused: bool
    paths: dict[str, str]
    numbers: dict[str, int | float] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        """Rows of the output over wall seconds of the step."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    def path(self, output: Output) -> Path:
        """Return the path of an output of this step."""
        step, name = output.value
        if step != self.step:
            raise ValueError(f"{output.name} is no output of {self.step}")
        return Path(self.paths[name])

    @property
    def source(self) -> str:
        """Path or description of the source that the step read (``SBIR_AWARDS`` and ``RECIPIENT_CHUNKS``)."""
        return self.paths["source"]


@dataclass(frozen=True)
class FailedStep:
    """A step that failed, with what it used until then. ``error``: class of the error; ``reason``: its message."""

    report: StepReport
    error: str
    reason: str


_FAILURES: Final = JsonCodec(FailedStep, kind="failed step", remedy=None)
_REPORTS: Final = JsonCodec(
    StepReport, kind="step report", remedy="Delete it and run the whole job again: finished chunks are kept."
)
CURRENT: Final = "current"  # in the published directory: link to the latest release
RELEASE_NAME_LENGTH: Final = 24  # of the digest of a release's content
_INSIDE: Final = "./"  # begins a recorded path that is relative to the run directory


class RunDirectory:
    """Paths under ``work_dir``, and the reports of the steps."""

    def __init__(self, work_dir: Path) -> None:
        self.root = work_dir.absolute()
        self.awards = self.root / "awards"
        self.companies = self.root / "companies"
        self.index = self.root / "index"
        self.chunks = self.root / "chunks"
        self.checkpoints = self.root / "checkpoints"  # the default location
        self.checkpoint_copies = self.root / "scratch" / "checkpoints"
        self.attempts = self.root / "attempts"
        self.results = self.root / "results"
        self.published = self.root / "published"
        self.current = self.published / CURRENT
        self.readiness = self.root / "readiness"
        self.overrides = self.root / "overrides.parquet"
        self.steps = self.root / "steps"
        self.failed_step = self.steps / "failed_step.json"
        self.farm_plan = self.steps / "farm_plan.json"
        self.worker_log = self.steps / "workers.jsonl"
        self.chunk_log = self.steps / "chunks.jsonl"
        self.run_history = self.steps / "runs.jsonl"
        self.active_run = self.steps / "active_run.json"
        self.ended_runs = self.steps / "ended_runs.jsonl"
        self.used_settings = self.steps / "settings.json"
        self.html_report = self.root / "report.html"
        self.notified = self.root / "notified.json"
        self.scratch = self.root / "scratch"
        self.dagster = self.root / "dagster"
        self.benchmarks = self.root / "benchmarks"  # the default location

    @contextmanager
    def recording(self, step: Step, run_id: str) -> Iterator[StepRecorder]:
        """Measure the body as a step. The body calls the recorder with the output; if it raises, the failure is
        recorded."""
        emit(StepStarted(step))
        with Meter() as meter:
            recorder = StepRecorder(step, run_id, self, meter)
            try:
                yield recorder
            except BaseException as error:
                with warning_on_error("The failed step could not be recorded"):
                    recorder.fail(error)
                raise

    def record(self, report: StepReport) -> None:
        """Write the report as the step's latest, with paths inside the directory relative to it."""
        _REPORTS.write(
            self.steps / f"{report.step}.json",
            replace(report, paths={name: self.relative(text) for name, text in report.paths.items()}),
        )

    def latest(self, step: Step) -> StepReport:
        """Return the step's latest report.

        Raises ``StateError`` when there is none, or when an earlier version recorded it before the directory was moved.
        """
        path = self.steps / f"{step}.json"
        try:
            report = _REPORTS.read(path)
        except FileNotFoundError as error:
            raise StateError(
                f"{self.root} has no output of the step '{step}'.", remedy=f"Run '{step}' first, or the whole job."
            ) from error
        report = replace(report, paths={name: self.resolve(text) for name, text in report.paths.items()})
        for output in Output:
            if output.step == step and not report.path(output).is_relative_to(self.root):
                raise StateError(
                    f"{path} names {report.path(output)}, which is outside {self.root}: an earlier version wrote it "
                    "before the directory was moved.",
                    remedy="Move the directory back, or run the whole job again: finished chunks are kept.",
                )
        return report

    def relative(self, location: str) -> str:
        """Return a path inside the directory as ``./...``; any other path, URI or description unchanged."""
        inside = location.removeprefix(f"{self.root}/")
        return location if inside == location else f"{_INSIDE}{inside}"

    def resolve(self, location: str) -> str:
        """Return what ``relative`` was given, for where the directory is now."""
        inside = location.removeprefix(_INSIDE)
        return location if inside == location else f"{self.root}/{inside}"

    def all_latest(self) -> dict[Step, StepReport]:
        """Return the latest report of each step that has run here, in order."""
        return {step: self.latest(step) for step in STEPS if (self.steps / f"{step}.json").exists()}

    def failure(self, run_id: str) -> FailedStep | None:
        """Return the failed step of a run; None if none failed, or it is not recorded."""
        with suppress(FileNotFoundError, CorruptionError):
            failed = _FAILURES.read(self.failed_step)
            return failed if failed.report.run_id == run_id else None
        return None

    def reports_of(self, run_id: str) -> dict[Step, StepReport]:
        """Return the reports of one run: of the steps that it finished, then of the one that failed.

        A damaged record is of an earlier run, as a run records its own steps whole.
        """
        found = {}
        for step in STEPS:
            with suppress(CorruptionError, StateError):
                report = self.latest(step)
                if report.run_id == run_id:
                    found[step] = report
        failed = self.failure(run_id)
        return found if failed is None else {**found, failed.report.step: failed.report}

    def record_settings(self, run_id: str, values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
        """Record the settings of the run by dotted key, with their origins."""
        settings = {key: {"value": value, "origin": origins.get(key, "default")} for key, value in values.items()}
        write_json(self.used_settings, {"run_id": run_id, "settings": settings})

    def clear_leftovers(self) -> None:
        """Delete partial files of killed steps and workers. Call it only while holding the lock.

        A worker that outlives its driver can lose its partial file: no driver waits for it. Files in another checkpoint
        location stay, as other runs may write them (``enrich-dist checkpoints gc``).
        """
        self.check_links()
        of_steps = (self.awards, self.companies, self.index, self.chunks, self.results, self.published)
        for directory in (*of_steps, self.checkpoints, self.attempts):
            remove_temporaries(directory)

    def check_links(self) -> None:
        """Raise ``SettingsError`` where a directory in which files are deleted or replaced is a symbolic link.

        ``published`` may be one: in another file system, releases are copies.
        """
        own = (self.awards, self.companies, self.index, self.chunks, self.checkpoints, self.attempts, self.results)
        for directory in (*own, self.steps, self.scratch, self.readiness):
            if directory.is_symlink():
                raise SettingsError(
                    f"paths.work_dir: {directory} is a symbolic link, and a run deletes files there.",
                    remedy="Make it a directory, or set paths.work_dir or paths.checkpoints to the other place.",
                )

    def record_farm_plan(
        self, chunks: Iterable[tuple[int, int, str]], basis: Mapping[str, str], checkpoint_location: str
    ) -> None:
        """Record (chunk_id, rows, checkpoint key) of each chunk, the basis of the keys, and the checkpoint location."""
        planned = [{"chunk_id": number, "rows": rows, "checkpoint_key": key} for number, rows, key in chunks]
        location = self.relative(checkpoint_location)
        write_json(self.farm_plan, {"basis": dict(basis), "chunks": planned, "checkpoint_location": location})

    def latest_farm(self) -> tuple[list[dict[str, Any]], str]:
        """Return the chunks of the latest farm plan and their checkpoint location; no chunks if there is no plan."""
        try:
            plan = read_json(self.farm_plan)
            return list(plan["chunks"]), self.resolve(plan.get("checkpoint_location") or str(self.checkpoints))
        except FileNotFoundError:
            return [], str(self.checkpoints)
        except (KeyError, TypeError, AttributeError) as error:
            raise CorruptionError(f"{self.farm_plan} is not a farm plan.", remedy=REBUILD) from error

    def latest_basis(self) -> dict[str, Any] | None:
        """Return the basis of the checkpoint keys of the latest farm plan; None if it is unknown."""
        try:
            basis = read_json(self.farm_plan).get("basis")
        except (FileNotFoundError, CorruptionError):
            return None
        return basis if isinstance(basis, dict) else None

    def location(self, setting: str | None) -> str:
        """Return the checkpoint location of the setting ``paths.checkpoints``: an absolute path or a URI."""
        if setting is None:
            return str(self.checkpoints)
        return setting if "://" in setting else str(Path(setting).resolve())

    def output(self, output: Output) -> Path:
        """Return the path of an output of the latest run of its step. Raises ``StateError`` when there is none."""
        return self.latest(output.step).path(output)


@dataclass
class StepRecorder:
    """Completes a step: records its output with the time and memory used.

    ``so_far``: returns rows, numbers and tables of a step that fails.
    """

    step: Step
    run_id: str
    directory: RunDirectory
    meter: Meter
    so_far: Callable[[], tuple[int, dict[str, float], dict[str, str]]] = lambda: (0, {}, {})

    def __call__(
        self,
        *,
        rows: int,
        reused: bool,
        paths: Mapping[str, Path | str],
        numbers: Mapping[str, int | float],
        tables: dict[str, str] | None = None,
        digests: dict[str, str] | None = None,
    ) -> StepReport:
        """Record the output of the step; the arguments are the fields of ``StepReport``."""
        finished = self._report(
            rows=rows,
            reused=reused,
            paths={name: str(path) for name, path in paths.items()},
            numbers={str(name): value for name, value in numbers.items()},
            tables=tables or {},
            digests=digests or {},
        )
        self.directory.record(finished)
        emit(StepFinished(self.step, rows, finished.seconds, reused))
        return finished

    def fail(self, error: BaseException) -> None:
        """Record that the step failed, with what it used until then."""
        rows, numbers, tables = self.so_far()
        report = self._report(rows=rows, reused=False, paths={}, numbers=numbers, tables=tables)
        reason = printable(str(error)) or type(error).__name__
        _FAILURES.write(self.directory.failed_step, FailedStep(report, type(error).__name__, reason))

    def _report(self, **fields: Any) -> StepReport:
        return StepReport(
            step=self.step,
            run_id=self.run_id,
            seconds=round(self.meter.seconds, 3),
            peak_memory_bytes=self.meter.peak_memory_bytes,
            **fields,
        )
