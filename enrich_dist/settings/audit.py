"""Overridden settings, as shown in terminal, log and reports.

An override is a value from the command line or the environment, or a value in a file that differs from the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from enrich_dist.settings.tree import Settings, flatten

DEFAULT = "default"
COMMAND_LINE = "command line"
ENVIRONMENT = "environment"


@dataclass(frozen=True)
class UsedSetting:
    """A setting of a run: dotted key, value as text, and origin (see ``LoadedSettings.origins``)."""

    key: str
    value: str
    origin: str

    @property
    def is_override(self) -> bool:
        """Return whether the value was chosen. A value in a file that equals the default is no override."""
        return self.origin.startswith((COMMAND_LINE, ENVIRONMENT)) or _defaults().get(self.key) != self.value

    @property
    def line(self) -> str:
        """Return the line for the log."""
        return f"setting {self.key} = {self.value} ({self.origin})"


def used_settings(values: Mapping[str, Any], origins: Mapping[str, str]) -> tuple[UsedSetting, ...]:
    """Return all settings, sorted by key."""
    return tuple(
        UsedSetting(key, setting_text(value), origins.get(key, DEFAULT)) for key, value in sorted(values.items())
    )


def setting_text(value: Any) -> str:
    """Return a setting's value as text."""
    return "null" if value is None else str(value)


@cache
def _defaults() -> Mapping[str, str]:
    return {key: setting_text(value) for key, value in flatten(Settings().model_dump(mode="json")).items()}
