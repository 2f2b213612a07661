"""The settings of a run: what there is to set (``tree``), and where each value comes from (``load``)."""

from enrich_dist.settings.load import LoadedSettings, flatten, known_keys, load_settings, override_texts
from enrich_dist.settings.tree import (
    ENV_PREFIX,
    ClusterKindName,
    ClusterSettings,
    InputSettings,
    PathSettings,
    Settings,
)

__all__ = [
    "ENV_PREFIX",
    "ClusterKindName",
    "ClusterSettings",
    "InputSettings",
    "LoadedSettings",
    "PathSettings",
    "Settings",
    "flatten",
    "known_keys",
    "load_settings",
    "override_texts",
]
