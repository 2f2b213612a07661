"""Record linkage without I/O: from recipients and a company index to candidates with comparison vectors.

The rooms: ``normalise`` (text), ``grams`` (3-gram vectors), ``index`` (the companies' files), ``blocking`` (which
pairs are worth a look), ``compare`` (the comparison vector of a pair), ``scoring`` (decisions, as SQL for the
reduce), ``matcher`` (what a worker holds), ``config``. Imports nothing heavy: a worker that only unpickles a
matcher does not pay for scipy.
"""

from __future__ import annotations

from enrich_dist.matching.config import ENGINE_VERSION, CandidateConfig
from enrich_dist.matching.matcher import OrganisationMatcher
from enrich_dist.matching.scoring import METHODS, DecisionConfig, method_sql, score_sql

__all__ = [
    "ENGINE_VERSION",
    "METHODS",
    "CandidateConfig",
    "DecisionConfig",
    "OrganisationMatcher",
    "method_sql",
    "score_sql",
]
