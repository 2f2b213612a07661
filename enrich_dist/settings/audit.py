"""Which settings were overridden: the lines that tell it in terminal, log and reports.

An override is a value that the command line or the environment gave, and one of a file that is not the default.
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
    """A setting of a run: dotted key, value as text, and where it came from ("default", "file PATH", "environment NAME"
    or "command line")."""

    key: str
    value: str
    origin: str

    @property
    def is_override(self) -> bool:
        """Whether somebody chose the value: one in a file that equals the default changes nothing."""
        return self.origin.startswith((COMMAND_LINE, ENVIRONMENT)) or _defaults().get(self.key) != self.value

    @property
    def line(self) -> str:
        """The audit line."""
        return f"setting {self.key} = {self.value} ({self.origin})"


def used_settings(values: Mapping[str, Any], origins: Mapping[str, str]) -> tuple[UsedSetting, ...]:
    """All settings in the order of their keys."""
    return tuple(
        UsedSetting(key, setting_text(value), origins.get(key, DEFAULT)) for key, value in sorted(values.items())
    )


def setting_text(value: Any) -> str:
    """A setting's value as text."""
    return "null" if value is None else str(value)


@cache
def _defaults() -> Mapping[str, str]:
    return {key: setting_text(value) for key, value in flatten(Settings().model_dump(mode="json")).items()}
