"""The settings of a run: the typed tree (``tree``), values and their origins (``load``, ``files``), overrides
(``audit``), and documentation from the comments of base.yaml (``comments``, ``json_schema``, ``reference``)."""

from enrich_dist.settings.audit import UsedSetting, setting_text, used_settings
from enrich_dist.settings.load import LoadedSettings, known_keys, load_settings, override_texts
from enrich_dist.settings.tree import (
    ENV_PREFIX,
    ClusterKindName,
    ClusterSettings,
    InputSettings,
    PathSettings,
    Settings,
    flatten,
)

__all__ = [
    "ENV_PREFIX",
    "ClusterKindName",
    "ClusterSettings",
    "InputSettings",
    "LoadedSettings",
    "PathSettings",
    "Settings",
    "UsedSetting",
    "flatten",
    "known_keys",
    "load_settings",
    "override_texts",
    "setting_text",
    "used_settings",
]
