"""Count how often ``overlap.similar_names`` would search each block of words, without searching it.

A test compares the counts with those of ``similar_names``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.overlap import _blocks_everywhere, _blocks_in_state, _probes


@njit(cache=True, nogil=True)
def count_lookups(queries, states, query_counts, tokens, index, unknown_weight, floors, floor_elsewhere):  # type: ignore[no-untyped-def]
    """Return the lookups of common concepts by state and of rare concepts everywhere, both int64.

    Arguments as of ``similar_names``. The first array has the layout of ``state_starts`` without its end, the second is
    by concept. Does not count lookups of a rare concept within a state, which lead to a few names.
    """
    weights, posting_starts, _, common, state_starts, _, state_count, home_starts, home_states = index[:9]
    by_state = np.zeros(state_starts.size - 1, dtype=np.int64)
    by_concept = np.zeros(weights.size, dtype=np.int64)
    probes = np.empty(256, dtype=np.int32)
    probe_weights = np.empty(256, dtype=np.int32)
    sizes = np.empty(256, dtype=np.int32)
    blocks = np.empty((256, 4), dtype=np.int32)
    for query in range(queries.size):
        count, total = _probes(queries[query], probes, probe_weights, weights, posting_starts, unknown_weight, tokens)
        state = states[query]
        if state >= 0:
            _blocks_in_state(
                count, probes, probe_weights, sizes, blocks, total, floors[query],
                state, common, state_starts, state_count, home_starts, home_states,
            )  # fmt: skip
            for probe in range(count):
                place = common[probes[probe]]
                if sizes[probe] > 0 and place >= 0:
                    by_state[place * (state_count + 1) + state] += query_counts[query]
                    by_state[place * (state_count + 1) + state_count] += query_counts[query]
        floor = floors[query] if state < 0 else max(floors[query], floor_elsewhere)
        _blocks_everywhere(count, probes, probe_weights, sizes, total, floor, common, posting_starts)
        for probe in range(count):
            if sizes[probe] > 0:
                by_concept[probes[probe]] += query_counts[query]
    return by_state, by_concept
