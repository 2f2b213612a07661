"""What comes before a run is launched, whoever launches it: what it is refused for, and workers that import meanwhile.

Covers what can be told before anything is read or begun: inputs, memory, packages, certificates, and the places that
settings name; one after the other (``admit``), and all at once (``examine``). Does not launch (``dagster_defs``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from enrich_dist.errors import EnrichError, SettingsError, SourceError
from enrich_dist.settings import LoadedSettings, Settings
from enrich_dist.settings.audit import DEFAULT
from enrich_dist.settings.files import with_line


@dataclass(frozen=True)
class Outcome:
    """Something wrong with the settings, with its remedy; ``places``: which settings it is about, and where they
    stand. A run is refused unless it is a ``warning``."""

    message: str
    places: tuple[str, ...]
    warning: bool


def admit(settings: Settings) -> None:
    """Raise the first thing that stands against a run with these settings; operators are told of it."""
    from enrich_dist.monitoring.notify import notify_on_failure

    _check_addresses(settings)  # else nobody could be told of what follows
    with notify_on_failure(settings):
        _check_ready(settings)
        for check in _REFUSED_AT_ONCE:
            check(settings)


def begin_workers(settings: Settings) -> None:
    """Have what local workers are forked from import what they need, while this process imports Dagster."""
    from enrich_dist.cluster import forkserver
    from enrich_dist.store.run_directory import RunDirectory
    from enrich_dist.store.status import all_chunks_finished

    if settings.cluster.kind == "local" and not all_chunks_finished(RunDirectory(settings.paths.work_dir)):
        forkserver.begin()


def examine(loaded: LoadedSettings) -> list[Outcome]:
    """All that stands against a run with these settings, and what is worth a second look."""
    settings = loaded.settings
    found = []
    for check in (*_REFUSED_AT_ONCE, *_LATER):
        try:
            check(settings)
        except EnrichError as error:
            # A file of settings may leave the inputs to the command line.
            warning = check is _check_inputs and isinstance(error, SettingsError)
            found.append(Outcome(str(error), tuple(_places(loaded, error)), warning))
    return found + [Outcome(text, tuple(_places_of(loaded, [key])), warning=True) for key, text in _risks(settings)]


def _check_ready(settings: Settings) -> None:
    from enrich_dist.preflight.readiness_file import require_ready

    require_ready(settings)


def _check_inputs(settings: Settings) -> None:
    """Raise ``SettingsError`` where an input is not set, ``SourceError`` where one cannot be used."""
    from enrich_dist.sources.inputs import check_inputs

    check_inputs(settings.inputs)


def _check_memory(settings: Settings) -> None:
    from enrich_dist.pipeline.min_memory import require_min_memory

    require_min_memory(settings)


def _check_cluster(settings: Settings) -> None:
    if settings.cluster.kind != "local":
        from enrich_dist.cluster.kinds import check_cluster

        check_cluster(settings)


def _check_checkpoints(settings: Settings) -> None:
    if settings.paths.checkpoints is not None:
        from enrich_dist.core.storage import open_storage

        open_storage(settings.paths.checkpoints).check()


def _check_addresses(settings: Settings) -> None:
    if settings.notifications.urls_file is not None:
        from enrich_dist.monitoring.notify import read_addresses

        read_addresses(settings.notifications.urls_file)


def _check_directories(settings: Settings) -> None:
    textfile = settings.monitoring.textfile
    for key, path in (
        ("paths.work_dir", settings.paths.work_dir),
        ("paths.benchmarks", settings.paths.benchmarks),
        ("monitoring.textfile", textfile and textfile.parent),
    ):
        if path is None:
            continue
        there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
        if not there.is_dir():
            raise SettingsError(f"{key}: {there} is no directory.", remedy="Name one that is, or can be made.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise SettingsError(f"{key}: {there} cannot be written to.", remedy="Name a directory that can.")


_REFUSED_AT_ONCE: tuple[Callable[[Settings], None], ...] = (
    _check_inputs,
    _check_memory,
    _check_cluster,
    _check_checkpoints,
)
_LATER: tuple[Callable[[Settings], None], ...] = (_check_addresses, _check_directories)


def _risks(settings: Settings) -> Iterator[tuple[str, str]]:
    """(key, what it means) of what a run does as it is told, but an operator may not want."""
    if settings.cluster.kind != "local" and settings.cluster.allow_insecure:
        yield "cluster.allow_insecure", "Without TLS whoever reaches the scheduler can run code on it and the workers."
    if settings.testing.fault_probability:
        yield "testing.fault_probability", "Attempts fail and workers are killed on purpose; set it to 0 for work."


def _places(loaded: LoadedSettings, error: EnrichError) -> Iterator[str]:
    """The settings that an error names, by their key or by the path that they hold."""
    path = Path(error.path) if isinstance(error, SourceError) else None
    named = set(re.findall(r"[a-z_]+(?:\.[a-z_]+)*", error.message))
    return _places_of(
        loaded, [item.key for item in loaded.used() if item.key in named or (path and item.value == str(path))]
    )


def _places_of(loaded: LoadedSettings, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        yield f"{key}: {with_line(loaded.origins.get(key, DEFAULT), key)}"
