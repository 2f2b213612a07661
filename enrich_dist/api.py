"""The Python API: functions that do what the commands of the same names do.

Heavy packages are imported when a function is called. Does not print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrich_dist.errors import SettingsError
from enrich_dist.settings import LoadedSettings, Settings, UsedSetting, flatten, load_settings, override_text

if TYPE_CHECKING:
    import pyarrow as pa

    from enrich_dist.pipeline.linking import LinkSummary
    from enrich_dist.planning.run_plan import RunPlan


@dataclass(frozen=True)
class Run:
    """The latest judged run of a work directory, read-only.

    Attributes
    ----------
    work_dir, run_id
        The work directory; the id of the run, as in ``enrich-dist runs ls``.
    status
        "published", "passed" (judged, not published) or "blocked".
    result, report
        Directory of the result's files; the HTML report, which may be missing.
    metrics, verdict
        The documents metrics.json and verdict.json.
    settings
        Every setting of the run by dotted key, with its value as text and its origin.
    """

    work_dir: Path
    run_id: str
    status: str
    result: Path
    report: Path
    metrics: Mapping[str, Any]
    verdict: Mapping[str, Any]
    settings: Mapping[str, UsedSetting]

    @property
    def match_rate(self) -> float:
        """Share of the valid awards with an accepted match."""
        return float(self.metrics["match_rate"])

    def awards(self) -> pa.Table:
        """Read every valid award with its ``match_status`` and match, as published in ``enriched_awards.parquet``."""
        import pyarrow.parquet as pq

        return pq.read_table(self.result / "enriched_awards.parquet")


def run(
    config: Path | str | Settings | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    log_level: str = "CRITICAL",
) -> Run:
    """Run the job: match, judge, publish. An interrupted run resumes.

    Parameters
    ----------
    config
        A settings file (None: $ENRICH_DIST_CONFIG, else config/base.yaml), or all settings as an object.
    settings
        Values that override file and environment, by dotted key or nested.
    log_level
        Level of Dagster's log on the terminal. For progress, see ``enrich_dist.events.listening``.

    Raises
    ------
    SettingsError, SourceError
        Before any work starts (exit code 2 of the command).
    PublicationBlockedError
        The quality gate blocked the result (3); ``open_run`` returns it with its reasons.
    RunInterruptedError, EnrichError
        The run failed (1); finished chunks are kept.

    Examples
    --------
    >>> import enrich_dist
    >>> done = enrich_dist.run(
    ...     settings={
    ...         "inputs": {"awards": "awards.csv", "recipients": "recipients.parquet"},
    ...         "paths.work_dir": "work",
    ...         "match_rate_threshold": 0.5,
    ...     }
    ... )
    >>> done.status
    'published'
    """
    from enrich_dist.preflight.runner import admit, preload_workers

    file, texts, loaded = _loaded(config, settings)
    admit(loaded.settings)
    preload_workers(loaded.settings)
    from dagster_defs.launch import launch

    launch(loaded.settings, config=file, overrides=texts, log_level=log_level)
    return open_run(loaded.settings.paths.work_dir)


def open_run(work_dir: Path | str) -> Run:
    """Open the latest judged run of a work directory, published or blocked.

    Parameters
    ----------
    work_dir
        The work directory; the setting ``paths.work_dir`` of the run.

    Raises
    ------
    StateError, CorruptionError
        No run was judged yet or its result is missing; a file is damaged.

    Examples
    --------
    >>> import enrich_dist
    >>> done = enrich_dist.open_run("work")
    >>> done.verdict["status"], done.settings["match_rate_threshold"].value
    ('passed', '0.5')
    >>> done.awards()["match_status"].to_pylist().count("matched") == done.metrics["awards"]["matched"]
    True
    >>> done.report.name
    'report.html'
    """
    from enrich_dist.core.files import read_json
    from enrich_dist.runs.journal import latest_run
    from enrich_dist.store.run_directory import RunDirectory

    directory = RunDirectory(Path(work_dir))
    entry = latest_run(directory)
    result = directory.results / entry.result
    return Run(
        work_dir=directory.root,
        run_id=entry.run_id,
        status=entry.status,
        result=result,
        report=directory.html_report,
        metrics=read_json(result / "metrics.json"),
        verdict=read_json(result / "verdict.json"),
        settings={item.key: item for item in entry.settings},
    )


def link(
    left: Path | str,
    right: Path | str,
    out: Path | str,
    *,
    left_columns: Mapping[str, str | None] | None = None,
    right_columns: Mapping[str, str | None] | None = None,
    with_review: bool = False,
    names: Sequence[Path | str] = (),
    config: Path | str | Settings | None = None,
    settings: Mapping[str, Any] | None = None,
) -> LinkSummary:
    """Link two tables of organisations: at most one right row per left row.

    Parameters
    ----------
    left, right
        Parquet or CSV files with id and name; optionally address, city, state, zip, uei, duns, alternate_names.
    out
        Output file, .csv, .parquet, .jsonl or .xlsx, with the columns of ``linking.LINK``.
    left_columns, right_columns
        Other names of these columns; None: the file has no such column.
    with_review
        Whether to write unresolved links too (status "review").
    names
        Files with names of the right organisations over time, such as award downloads (docs/how-to/former-names.md).
    config, settings
        As for ``run``; only the section ``matching`` applies.

    Raises
    ------
    SourceError
        A table is not usable.

    Examples
    --------
    >>> import enrich_dist
    >>> found = enrich_dist.link("left.csv", "right.csv", "links.csv", left_columns={"id": "vendor_no"})
    >>> found.left_rows, found.matched
    (3, 2)
    """
    from enrich_dist.pipeline.linking import link as link_tables

    matching = _loaded(config, settings)[2].settings.matching
    return link_tables(
        *map(Path, (left, right, out)),
        left_columns=left_columns or {},
        right_columns=right_columns or {},
        candidates=matching.candidates(),
        decision=matching.decision(),
        with_review=with_review,
        names=names,
    )


def plan(
    config: Path | str | Settings | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    sample_rows: int | None = None,
    workers: int | None = None,
) -> RunPlan:
    """Estimate candidates, memory, run time and disk of a run, and recommend settings.

    Awards, companies and index stay in the work directory, so that the next run reuses them.

    Parameters
    ----------
    config, settings
        As for ``run``.
    sample_rows, workers
        Recipients to match (None: 100,000), and workers to estimate for (None: those of the settings).

    Raises
    ------
    SettingsError, SourceError
        As for ``run``.

    Examples
    --------
    >>> import enrich_dist
    >>> inputs = {"awards": "awards.csv", "recipients": "recipients.parquet"}
    >>> made = enrich_dist.plan(settings={"inputs": inputs, "paths.work_dir": "work", "chunk_size": 10})
    >>> made.chunks
    6
    """
    from enrich_dist.planning.run_plan import SAMPLE_ROWS, make_plan

    rows = SAMPLE_ROWS if sample_rows is None else sample_rows
    return make_plan(_loaded(config, settings)[2].settings, rows, workers=workers)


def _loaded(
    config: Path | str | Settings | None, settings: Mapping[str, Any] | None
) -> tuple[Path | None, list[str], LoadedSettings]:
    """Return the settings file, the overrides as for ``--set``, and the settings that Dagster loads from both."""
    values = flatten(settings or {})
    if isinstance(config, Settings):
        defaults = load_settings().settings.flat()
        changed = {key: value for key, value in config.flat().items() if key not in defaults or defaults[key] != value}
        texts = [*_texts(changed), *_texts(values)]
        loaded = load_settings(None, texts)
        if not values and loaded.settings != config:
            raise SettingsError(
                "The environment or config/base.yaml sets a value that these settings leave unset.",
                remedy="Pass a settings file instead.",
            )
        return None, texts, loaded
    file = None if config is None else Path(config)
    texts = _texts(values)
    return file, texts, load_settings(file, texts)


def _texts(values: Mapping[str, Any]) -> list[str]:
    return [override_text(key, value) for key, value in values.items()]
