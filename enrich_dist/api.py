"""The functions of the package for Python: thin, each does what the command of the same name does.

Covers ``run``, ``open_run``, ``link`` and ``plan``. What is heavy is imported when it is used. Does not print.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrich_dist.errors import SettingsError
from enrich_dist.settings import LoadedSettings, Settings, UsedSetting, flatten, load_settings

if TYPE_CHECKING:
    import pyarrow as pa

    from enrich_dist.pipeline.linking import LinkSummary
    from enrich_dist.planning.run_plan import RunPlan


@dataclass(frozen=True)
class Run:
    """What the latest judged run of a work directory left; to be read only.

    ``status``: "published", "passed" (and not published) or "blocked"; ``metrics`` and ``verdict``: the documents
    metrics.json and verdict.json; ``settings``: every setting of the run by dotted key, with value as text and origin;
    ``result``: the directory of its files; ``report``: the HTML file, which may be missing.
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
        """Every valid award, with ``match_status`` and the recipient where it is matched.

        Read anew at each call; columns as in the published ``enriched_awards.parquet``.
        """
        import pyarrow.parquet as pq

        return pq.read_table(self.result / "enriched_awards.parquet")


def run(
    config: Path | str | Settings | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    log_level: str = "CRITICAL",
) -> Run:
    """Run the job as ``enrich-dist run`` does: match, judge, publish; an interrupted run is resumed.

    ``config``: a settings file (None: $ENRICH_DIST_CONFIG, else config/base.yaml), or all settings as an object;
    ``settings``: values that rank above file and environment, by dotted key or nested; ``log_level``: of Dagster's log
    on the terminal. Progress goes to whoever listens (``enrich_dist.events.listening``).

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

    Raises what the command ends with: ``SettingsError`` and ``SourceError`` before any work (exit code 2),
    ``PublicationBlockedError`` where the gate blocks (3; ``open_run`` then tells why), ``RunInterruptedError`` and the
    other errors of ``enrich_dist.errors`` (1).
    """
    from enrich_dist.preflight.admission import admit, preload_workers

    file, texts, loaded = _loaded(config, settings)
    admit(loaded.settings)
    preload_workers(loaded.settings)
    from dagster_defs.launch import launch

    launch(loaded.settings, config=file, overrides=texts, log_level=log_level)
    return open_run(loaded.settings.paths.work_dir)


def open_run(work_dir: Path | str) -> Run:
    """What the latest judged run of a work directory left, published or blocked.

    >>> import enrich_dist
    >>> done = enrich_dist.open_run("work")
    >>> done.verdict["status"], done.settings["match_rate_threshold"].value
    ('passed', '0.5')
    >>> done.awards()["match_status"].to_pylist().count("matched") == done.metrics["awards"]["matched"]
    True
    >>> done.report.name
    'report.html'

    Raises ``StateError`` where nothing was judged yet, or the result is gone; ``CorruptionError`` for a damaged file.
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
    config: Path | str | Settings | None = None,
    settings: Mapping[str, Any] | None = None,
) -> LinkSummary:
    """Link two tables of organisations as ``enrich-dist link`` does: one best right one per left one.

    ``left``, ``right``: Parquet or CSV with id, name and, where there are, address, city, state, zip, uei, duns,
    alternate_names; ``left_columns``, ``right_columns``: other names of these (None: there is no such column); ``out``:
    .csv or .parquet, columns as in ``linking.LINK``; ``with_review``: also the undecided; ``config``, ``settings``: as
    for ``run``, of which ``matching`` counts.

    >>> import enrich_dist
    >>> found = enrich_dist.link("left.csv", "right.csv", "links.csv", left_columns={"id": "vendor_no"})
    >>> found.left_rows, found.matched
    (3, 2)

    Raises ``SourceError`` where a table cannot be used.
    """
    from enrich_dist.pipeline.linking import link as link_tables

    matching = _loaded(config, settings)[2].settings.matching
    return link_tables(
        Path(left),
        Path(right),
        Path(out),
        left_columns=left_columns or {},
        right_columns=right_columns or {},
        candidates=matching.candidates(),
        decision=matching.decision(),
        with_review=with_review,
    )


def plan(
    config: Path | str | Settings | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    sample_rows: int | None = None,
    workers: int | None = None,
) -> RunPlan:
    """Tell what a run with these settings will meet, as ``enrich-dist plan`` does.

    ``config``, ``settings``: as for ``run``; ``sample_rows``: recipients that are matched to tell (None: 100,000);
    ``workers``: tell for so many (None: those of the settings).

    >>> import enrich_dist
    >>> inputs = {"awards": "awards.csv", "recipients": "recipients.parquet"}
    >>> made = enrich_dist.plan(settings={"inputs": inputs, "paths.work_dir": "work", "chunk_size": 10})
    >>> made.chunks
    6

    Awards, companies and index are kept in the work directory, for the run that follows. Raises ``SettingsError`` and
    ``SourceError`` as a run does.
    """
    from enrich_dist.planning.run_plan import SAMPLE_ROWS, make_plan

    rows = SAMPLE_ROWS if sample_rows is None else sample_rows
    return make_plan(_loaded(config, settings)[2].settings, rows, workers=workers)


def _loaded(
    config: Path | str | Settings | None, settings: Mapping[str, Any] | None
) -> tuple[Path | None, list[str], LoadedSettings]:
    """(settings file, overrides as after ``--set``, the settings of both): what Dagster loads is the same."""
    values = flatten(settings or {})
    if isinstance(config, Settings):
        texts = [*_difference(config), *_texts(values)]
        loaded = load_settings(None, texts)
        if not values and loaded.settings != config:
            raise SettingsError(
                "The environment or config/base.yaml sets what these settings leave out, and it cannot be unset.",
                remedy="Name a settings file instead.",
            )
        return None, texts, loaded
    file = None if config is None else Path(config)
    texts = _texts(values)
    return file, texts, load_settings(file, texts)


def _difference(settings: Settings) -> list[str]:
    """What makes the settings that would be loaded anyway these."""
    there = flatten(load_settings().settings.model_dump(mode="json"))
    wanted = flatten(settings.model_dump(mode="json"))
    return _texts({key: value for key, value in wanted.items() if key not in there or there[key] != value})


def _texts(values: Mapping[str, Any]) -> list[str]:
    # JSON is YAML, in which the values of --set are read.
    return [f"{key}={json.dumps(value, default=str)}" for key, value in values.items()]
