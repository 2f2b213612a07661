"""The stages that a run's time is told by: its steps, and what comes before and after them."""

from __future__ import annotations

from typing import Final

from enrich_dist.store.run_directory import STEPS

STAGES: Final = ("start_up", *STEPS, "report")
