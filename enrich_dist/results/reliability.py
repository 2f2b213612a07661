"""Show where the estimated precision and recall of a result cannot be relied on, and why.

The estimates are those of the match probabilities, so they are wrong where the model is. Two properties of a result
show that without labels. Does not change any probability, and gates nothing (``quality``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from enrich_dist.core.tables import counted, percent
from enrich_dist.matching.decisions import IDENTIFIED_METHODS
from enrich_dist.results.tables import Table
from enrich_dist.schema import PlaceLevel

# Limits, on accepted matches. Looked at: the development halves of the public sets (docs/explanation/matching.md).
# The estimate is 2 points off if it is wrong by 20 points for the 10% whose name several organisations have; where
# more have, it was wrong by 9 to 36 points for them. The sets have 0 to 5%, or 21 to 87%.
MAX_NAMESAKE_SHARE = 0.10
# Where most matches compare no place, the names decide, whose weights are then known from names alone. Argued: half. On
# three such sets the estimate was 3 points too low and 1 point too high or low.
MAX_NAMES_ONLY_SHARE = 0.5
# With fewer matches, a single one is more than 2 points. Argued.
MIN_MATCHES = 50


def assess(connection: duckdb.DuckDBPyConnection, companies: Table) -> dict[str, Any]:
    """Return whether the estimates of ``quality.estimate_accuracy`` are ``reliable``, and the ``reasons`` if not.

    ``companies``: of ``scoring.Scores``. Matches by an identifier or a human decision do not depend on namesakes. The
    share is of all accepted matches.
    """
    [(matches, namesakes, names_only)] = connection.execute(f"""
        with several as (
            select company_id from {companies} where namesakes > 1
        )
        select count(*),
               count(*) filter (match_method not in {IDENTIFIED_METHODS} and company_id in (from several)),
               count(*) filter (match_method not in {IDENTIFIED_METHODS} and place_level = {PlaceLevel.UNKNOWN})
        from company_matches where match_status = 'matched'
    """).fetchall()
    reasons = []
    if namesakes > MAX_NAMESAKE_SHARE * matches:
        reasons.append(
            f"{percent(namesakes / matches)} of the accepted matches have a name that several organisations or sites "
            "have, and the estimate cannot know which of them is right"
        )
    if names_only > MAX_NAMES_ONLY_SHARE * matches:
        reasons.append(f"{percent(names_only / matches)} of the accepted matches compare only names")
    if matches < MIN_MATCHES:
        reasons.append(f"only {counted(matches, 'match is', 'matches are')} accepted")
    return {"reliable": not reasons, "reasons": reasons}


def describe(accuracy: Mapping[str, Any]) -> str:
    """Return "not reliable here" and why; empty where the estimates (metrics "accuracy") are reliable, and for results
    of versions that did not assess them."""
    return f"not reliable here: {'; '.join(reasons)}" if (reasons := accuracy.get("reasons")) else ""
