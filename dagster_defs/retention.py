"""Removal of old runs from Dagster's run history and event log."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from dagster_defs.assets import enrich


def prune_history(instance: dg.DagsterInstance, own: Path, judged: Sequence[str], keep: int) -> int:
    """Delete the finished runs that are older than the ``keep`` latest judged runs; return how many.

    ``own``: directory of the work directory's own instance; in another one, which others may share ($DAGSTER_HOME),
    only judged runs are deleted. ``judged``: ids of the work directory's judged runs, the oldest first.
    """
    kept = set(judged[-keep:])
    records = instance.get_run_records(filters=dg.RunsFilter(job_name=enrich.name, statuses=list(FINISHED_STATUSES)))
    oldest = min((record.create_timestamp for record in records if record.dagster_run.run_id in kept), default=None)
    if oldest is None:
        return 0
    is_own = Path(instance.root_directory).absolute() == own
    deleted = [
        record.dagster_run.run_id
        for record in records
        if record.create_timestamp < oldest and (is_own or record.dagster_run.run_id in judged)
    ]
    for run_id in deleted:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    if is_own:
        for run_id in deleted:
            _shrink(own / "history" / "runs" / f"{run_id}.db")
    return len(deleted)


def _shrink(database: Path) -> None:
    """Give the space of deleted events back. The file stays, as a running UI may have it open."""
    if database.is_file():
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("vacuum")
