"""Neutralised settings (``--without-settings``): a test of a setting must fail without the effect of the setting.

``Settings`` uses the default of the marked setting, whatever value the test gives it. Does not affect other processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from enrich_dist.settings import Settings


def neutralise(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every new ``Settings`` ignore the value of this key."""
    make, parts = Settings.__init__, key.split(".")

    def __init__(self: Settings, **values: Any) -> None:  # noqa: N807
        make(self, **_without(values, parts))

    monkeypatch.setattr(Settings, "__init__", __init__)


def _without(values: Mapping[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    name, *rest = parts
    kept = dict(values)
    if not rest or name not in kept:
        kept.pop(name, None)
        return kept
    section = kept[name]
    if isinstance(section, BaseModel):
        section = section.model_dump(exclude_unset=True)
    kept[name] = _without(section, rest)
    return kept
