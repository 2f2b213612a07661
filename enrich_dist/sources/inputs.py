"""The inputs of a run, as the settings name them: the awards file and the recipient sources."""

from __future__ import annotations

from pathlib import Path

from enrich_dist.errors import SettingsError
from enrich_dist.settings import InputSettings
from enrich_dist.sources.awards import check_awards
from enrich_dist.sources.concatenated import ConcatenatedSources, MappedSource
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.name_history import NameHistory, NameInput
from enrich_dist.sources.part_files import PartFiles
from enrich_dist.sources.protocol import Source
from enrich_dist.sources.recipients import check_recipients


def check_inputs(inputs: InputSettings, scratch: Path | None = None) -> tuple[PartFiles, Source]:
    """Return the awards files and the recipient source, after checking that both can be read and have the columns.

    Raises ``SettingsError`` when one is not set and ``SourceError`` when one is not usable.
    """
    if inputs.awards is None or not inputs.recipient_inputs:
        raise _not_set("inputs.awards" if inputs.awards is None else "inputs.recipients")
    awards = PartFiles(inputs.awards)
    check_awards(awards, inputs.award_columns)
    return awards, check_recipient_inputs(inputs, scratch)


def check_recipient_inputs(inputs: InputSettings, scratch: Path | None = None) -> Source:
    """Return the recipient source, after checking it and the files of names as ``check_inputs`` does."""
    recipients = recipient_source(inputs)
    check_recipients(recipients, inputs.recipient_columns, scratch=scratch)
    name_history(inputs).check()
    return recipients


def recipient_source(inputs: InputSettings) -> Source:
    """Return the recipient source, several concatenated. Raises ``SettingsError`` if none is set, ``SourceError``."""
    sources = [
        MappedSource(open_source(item.location, item.member or inputs.recipients_member), item.columns)
        for item in inputs.recipient_inputs
    ]
    if not sources:
        raise _not_set("inputs.recipients")
    return sources[0].source if len(sources) == 1 and not sources[0].columns else ConcatenatedSources(sources)


def name_history(inputs: InputSettings) -> NameHistory:
    """Return the files of names over time; none by default. Raises ``SourceError`` where a location has no file."""
    return NameHistory([NameInput(item.location, item.member, item.columns) for item in inputs.name_inputs])


def _not_set(key: str) -> SettingsError:
    return SettingsError(f"{key} is not set.", remedy=f"Set it to the file, for example --set {key}=FILE.")
