"""Count how often ``overlap.similar_names`` would search each block of words, without searching it.

A test compares the counts with those of ``similar_names``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.overlap import (
    ELSEWHERE,
    IN_STATE,
    MAX_PROBES,
    SCOPES,
    block_starts,
    find_blocks,
    find_probes,
    is_searched,
)


@njit(cache=True, nogil=True)
def count_lookups(queries, states, query_counts, tokens, index, unknown_weight, limits):  # type: ignore[no-untyped-def]
    """Return the lookups of frequent concepts by state and of all concepts everywhere, both int64.

    Arguments as of ``similar_names``. The first array has the layout of ``state_starts`` without its end, the second is
    by concept. Does not count lookups of other concepts within a state, which lead to a few names.
    """
    weights, posting_starts, _, common, state_starts, _, state_count = index[:7]
    by_state = np.zeros(state_starts.size - 1, dtype=np.int64)
    by_concept = np.zeros(weights.size, dtype=np.int64)
    probes = np.empty((MAX_PROBES, 3), dtype=np.int32)
    begins = np.empty(MAX_PROBES, dtype=np.int32)
    sizes = np.empty(MAX_PROBES, dtype=np.int32)
    starts = block_starts(index)
    for query in range(queries.size):
        count, total = find_probes(queries[query], probes, weights, posting_starts, unknown_weight, tokens)
        state = states[query]
        for scope in range(SCOPES):
            if not is_searched(scope, state, index[15], index[10].size):
                continue
            find_blocks(scope, state, count, probes, begins, sizes, total, limits, starts)
            segment = state if scope == IN_STATE else state_count
            for probe in range(count):
                concept = probes[probe, 0]
                if sizes[probe] == 0:
                    continue
                if scope >= ELSEWHERE:
                    by_concept[concept] += query_counts[query]
                elif common[concept] >= 0:
                    by_state[common[concept] * (state_count + 1) + segment] += query_counts[query]
    return by_state, by_concept
