"""Settings of the performance limits, per run and per asset."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from enrich_dist.matching.config import SettingsSection
from enrich_dist.settings.values import Seconds

Megabytes = Annotated[float, Field(gt=0, le=100_000_000)]


class AssetLimits(SettingsSection):
    """Limits of one asset; null: none."""

    max_seconds: Seconds | None = None
    max_memory_mb: Megabytes | None = None


class RunLimits(AssetLimits):
    """Limits of a run; null: none."""

    max_seconds_per_million_recipients: Seconds | None = 120.0


class LimitsOfAssets(SettingsSection):
    """Limits by asset, named as in Dagster."""

    sbir_awards: AssetLimits = AssetLimits()
    award_companies: AssetLimits = AssetLimits()
    recipient_chunks: AssetLimits = AssetLimits()
    chunk_matches: AssetLimits = AssetLimits()
    enriched_awards: AssetLimits = AssetLimits()
    published_awards: AssetLimits = AssetLimits()


class PerformanceSettings(SettingsSection):
    """Limits of time and memory that hold from the first run on."""

    error_ratio: Annotated[float, Field(ge=1, le=1_000)] = 1.5
    run: RunLimits = RunLimits()
    assets: LimitsOfAssets = LimitsOfAssets()
