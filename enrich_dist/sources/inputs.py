"""The two inputs of a run, checked before work starts."""

from __future__ import annotations

from pathlib import Path

from enrich_dist.errors import SettingsError
from enrich_dist.settings import InputSettings
from enrich_dist.sources.recipients import check_recipients
from enrich_dist.sources.sbir import check_awards


def check_inputs(inputs: InputSettings) -> tuple[Path, Path]:
    """Paths of awards and recipients, both of which can be opened and have the columns they need.

    Raises ``SettingsError`` when one is not set and ``SourceError`` when one cannot be used.
    """
    if inputs.awards is None or inputs.recipients is None:
        missing = "inputs.awards" if inputs.awards is None else "inputs.recipients"
        raise SettingsError(f"{missing} is not set.", remedy=f"Name the file with --set {missing}=FILE.")
    check_awards(inputs.awards, inputs.award_columns)
    check_recipients(inputs.recipients, inputs.recipient_columns)
    return inputs.awards, inputs.recipients
