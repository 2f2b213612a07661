"""Former names of recipients in words, for people who judge a match: "called X until 2017"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from enrich_dist.matching.normalise import normalise_names
from enrich_dist.matching.shared_words import SharedWords
from enrich_dist.schema import NameKind


def former_names_sql() -> str:
    """Return the SQL expression of the former names with their dates: "X (2010-01-31 to 2017-05-01); Y". Null unless
    the recipient agrees by a former name. Uses ``name_kind`` and ``name_history``."""
    former = f"list_filter(name_history, lambda n: n.kind = {NameKind.FORMER})"
    dated = "n.name || coalesce(' (' || n.first_seen || ' to ' || n.last_seen || ')', '')"
    return (
        f"case when name_kind = {NameKind.FORMER} "
        f"then array_to_string(list_transform({former}, lambda n: {dated}), '; ') end"
    )


def called(history: Sequence[Mapping[str, Any]] | None, shared: SharedWords | None) -> str | None:
    """Return the former name that agrees in words: "called X until 2017 (award downloads, 2010-01-31 to 2017-05-01)".

    ``history``: ``name_history`` of the recipient; ``shared``: has the agreeing name. None without former names.
    """
    former = [item for item in history or () if item["kind"] == NameKind.FORMER]
    keys = normalise_names(pa.array([item["name"] for item in former], pa.string())).to_pylist()
    # A text may hold several names; the first former name stands for a name within a text.
    item = next(
        (item for item, key in zip(former, keys, strict=True) if shared and key == shared.recipient_name),
        next(iter(former), None),
    )
    if item is None:
        return None
    if item["last_seen"] is None:
        return f"called {item['name']} earlier or elsewhere (award downloads, no date)"
    return (
        f"called {item['name']} until {item['last_seen'].year} "
        f"(award downloads, {item['first_seen']} to {item['last_seen']})"
    )
