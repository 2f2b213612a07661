"""Record linkage without I/O: from recipients and a company index to candidates with comparison vectors, and from
these to probabilities.

The rooms: ``normalise`` (text), ``words`` (the word lists in ``data/``), ``vocabulary`` and ``index`` (the companies'
files), ``blocking`` (which pairs are worth a look), ``compare`` (the comparison vector of a pair), ``weights`` (what a
comparison is worth), ``decisions`` (probabilities and what follows), ``matcher`` (what a worker holds), ``config``,
``kernels`` (compiled loops). Imports nothing heavy: a worker that only unpickles a matcher does not pay for numba.
"""

from __future__ import annotations

from enrich_dist.matching.config import ENGINE_VERSION, CandidateConfig
from enrich_dist.matching.matcher import OrganisationMatcher

__all__ = ["ENGINE_VERSION", "CandidateConfig", "OrganisationMatcher"]
