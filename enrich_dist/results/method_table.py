"""The table of accepted matches by method. Apart from ``report``, so that ``status`` does not import Arrow for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enrich_dist.core.tables import Table, make_table, percent


def method_table(metrics: Mapping[str, Any]) -> Table:
    """Return accepted matches by method, with their share of the valid awards."""
    valid = metrics["awards"]["valid"]
    return make_table(
        ("method", "awards", "companies", "share of awards"),
        [
            (i["method"], i["awards"], i["companies"], percent(i["awards"] / valid if valid else 0.0))
            for i in metrics["by_method"]
        ],
        "Accepted matches by method",
    )
