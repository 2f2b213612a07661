"""The settings of a run: the typed tree (``tree``), values and their origins (``load``, ``files``), and documentation
from the comments of base.yaml (``documentation``)."""

from enrich_dist.settings.load import (
    LoadedSettings,
    UsedSetting,
    load_settings,
    override_text,
    override_texts,
    used_settings,
)
from enrich_dist.settings.tree import ENV_PREFIX, ClusterKindName, ClusterSettings, InputSettings, Settings, flatten

__all__ = [
    "ENV_PREFIX",
    "ClusterKindName",
    "ClusterSettings",
    "InputSettings",
    "LoadedSettings",
    "Settings",
    "UsedSetting",
    "flatten",
    "load_settings",
    "override_text",
    "override_texts",
    "used_settings",
]
