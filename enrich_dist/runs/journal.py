"""The file in which the runs of a work directory are kept: a JSON object a line, the last of a run counts.

Covers adding to it, reading it, and finding the run that a person names. Does not cover what is kept (``entry``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace

from enrich_dist.core.json_lines import read_json_lines
from enrich_dist.errors import SettingsError, StateError
from enrich_dist.events import Notice, emit
from enrich_dist.remedies import RUN_FIRST
from enrich_dist.runs.entry import RunEntry, from_document, latest_entry, to_document
from enrich_dist.store.run_directory import RunDirectory

logger = logging.getLogger(__name__)

LATEST, PREVIOUS = "latest", "previous"


def keep_run(directory: RunDirectory) -> None:
    """Keep the run that has just been judged, or published. Never raises: the run is done, whatever goes wrong."""
    try:
        line = json.dumps(to_document(_with_paths(latest_run(directory), directory.relative)), sort_keys=True) + "\n"
        directory.run_history.parent.mkdir(parents=True, exist_ok=True)
        with directory.run_history.open("a", encoding="utf-8") as file:
            file.write(line)
    except Exception as error:  # see above
        logger.debug("the run could not be kept", exc_info=True)
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        emit(Notice(f"The run could not be added to {directory.run_history.name} ({problem}).", warning=True))


def _with_paths(entry: RunEntry, convert: Callable[[str], str]) -> RunEntry:
    """Convert every path of the entry."""
    awards, recipients = (replace(item, path=convert(item.path)) for item in (entry.awards, entry.recipients))
    steps = {
        name: replace(step, paths={key: convert(path) for key, path in step.paths.items()})
        for name, step in entry.steps.items()
    }
    return replace(entry, awards=awards, recipients=recipients, steps=steps)


def latest_run(directory: RunDirectory) -> RunEntry:
    """The run whose result is the latest, as it is now (``entry.latest_entry``)."""
    entry = latest_entry(directory)
    if entry.settings:
        return entry
    # Another run has begun since, or publishes this one's result: it has put its own settings in the place.
    kept = [run.settings for run in read_runs(directory) if run.key == entry.key]
    return replace(entry, settings=kept[-1]) if kept else entry


def read_runs(directory: RunDirectory) -> list[RunEntry]:
    """All judged runs, the oldest first; empty where there is none. Lines that cannot be read are left out."""
    found: dict[tuple[str, str], RunEntry] = {}
    for line in read_json_lines(directory.run_history):
        try:
            entry = _with_paths(from_document(line), directory.resolve)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        found.pop(entry.key, None)
        found[entry.key] = entry
    return list(found.values())


def find_run(directory: RunDirectory, name: str) -> RunEntry:
    """The run that ``name`` names: ``latest``, ``previous`` (the one before it), or the beginning of its id.

    Raises ``StateError`` where there is no such run, ``SettingsError`` where several ids begin like that.
    """
    runs = read_runs(directory)
    if not runs:
        raise StateError(f"{directory.root} keeps no judged run.", remedy=RUN_FIRST)
    if name in (LATEST, PREVIOUS):
        place = 1 if name == LATEST else 2
        if len(runs) < place:
            raise StateError(
                f"{directory.root} keeps one run only, so there is none before it.", remedy="Run the job again first."
            )
        return runs[-place]
    found = [run for run in runs if name and run.run_id.startswith(name)]
    ids = list(dict.fromkeys(run.run_id for run in found))
    if len(ids) > 1:
        raise SettingsError(
            f"'{name}' begins the ids of {len(ids)} runs: {', '.join(ids)}.", remedy="Give more of the id."
        )
    if not ids:
        raise StateError(
            f"No run's id begins with '{name}'.", remedy="`enrich-dist runs ls` lists them; or say latest, previous."
        )
    return found[-1]
