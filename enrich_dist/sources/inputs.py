"""The two inputs of a run: the awards' file and the recipients' sources, as the settings name them."""

from __future__ import annotations

from pathlib import Path

from enrich_dist.errors import SettingsError
from enrich_dist.settings import InputSettings
from enrich_dist.sources.awards import check_awards
from enrich_dist.sources.concatenated import ConcatenatedSources, Entry
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.protocol import Source
from enrich_dist.sources.recipients import check_recipients
from enrich_dist.sources.source_file import SourceFile, as_file


def check_inputs(inputs: InputSettings, scratch: Path | None = None) -> tuple[SourceFile, Source]:
    """The awards' file and the recipients, both of which can be opened and have the columns they need.

    Raises ``SettingsError`` when one is not set and ``SourceError`` when one cannot be used.
    """
    if inputs.awards is None or not inputs.recipient_inputs:
        raise _not_set("inputs.awards" if inputs.awards is None else "inputs.recipients")
    awards = as_file(inputs.awards)
    check_awards(awards, inputs.award_columns)
    recipients = recipient_source(inputs)
    check_recipients(recipients, inputs.recipient_columns, scratch=scratch)
    return awards, recipients


def recipient_source(inputs: InputSettings) -> Source:
    """What the recipients are read from: one source, or several as one.

    Raises ``SettingsError`` when none is set and ``SourceError`` when there is nothing to be read.
    """
    given = inputs.recipient_inputs
    if not given:
        raise _not_set("inputs.recipients")
    entries = [
        Entry(open_source(item.location, item.member or inputs.recipients_member), item.columns) for item in given
    ]
    if len(entries) == 1 and not entries[0].columns:
        return entries[0].source
    return ConcatenatedSources(entries)


def _not_set(key: str) -> SettingsError:
    return SettingsError(f"{key} is not set.", remedy=f"Name the file with --set {key}=FILE.")
