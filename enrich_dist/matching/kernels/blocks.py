"""How often each block of words is looked into: the choice of ``overlap.similar_names``, counted and not followed.

Covers which blocks a name leaves out as they cannot decide, in the same order as there. Does not look at what is in a
block. A test holds the two to the same numbers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.overlap import _blocks_everywhere, _home_blocks, _probes


@njit(cache=True, nogil=True)
def count_looks(queries, states, bearers, tokens, index, unknown_weight, floors, floor_elsewhere):  # type: ignore[no-untyped-def]
    """(looks into each common concept's block by state, looks into each rare concept's block), both int64.

    Arguments as of ``similar_names``. The first has the layout of ``state_starts`` without its end, the second is by
    concept. Looks for a rare concept within a state, which lead to a few names, are not counted.
    """
    token_starts, concepts, _, typo_starts, typos, extra_starts, extras, _ = tokens
    weights, posting_starts, _, common, state_starts, _, state_count, home_starts, home_states = index[:9]
    by_state = np.zeros(state_starts.size - 1, dtype=np.int64)
    by_concept = np.zeros(weights.size, dtype=np.int64)
    probes = np.empty(256, dtype=np.int32)
    probe_weights = np.empty(256, dtype=np.int32)
    sizes = np.empty(256, dtype=np.int32)
    blocks = np.empty((256, 4), dtype=np.int32)
    for query in range(queries.size):
        count, total = _probes(
            queries[query],
            probes,
            probe_weights,
            weights,
            posting_starts,
            unknown_weight,
            token_starts,
            concepts,
            typo_starts,
            typos,
            extra_starts,
            extras,
        )
        state = states[query]
        if state >= 0:
            _home_blocks(
                count, probes, probe_weights, sizes, blocks, total, floors[query],
                state, common, state_starts, state_count, home_starts, home_states,
            )  # fmt: skip
            for probe in range(count):
                place = common[probes[probe]]
                if sizes[probe] > 0 and place >= 0:
                    by_state[place * (state_count + 1) + state] += bearers[query]
                    by_state[place * (state_count + 1) + state_count] += bearers[query]
        floor = floors[query] if state < 0 else max(floors[query], floor_elsewhere)
        _blocks_everywhere(count, probes, probe_weights, sizes, total, floor, common, posting_starts)
        for probe in range(count):
            if sizes[probe] > 0:
                by_concept[probes[probe]] += bearers[query]
    return by_state, by_concept
