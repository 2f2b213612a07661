"""Candidate names: a weighted set-similarity join over posting lists.

Blocking with the prefix filter (Chaudhuri, Ganti and Kaushik 2006; All-Pairs of Bayardo, Ma and Srikant 2007): the
largest blocks of a name are skipped as long as a name that shares only their words cannot be similar enough. A name is
searched in up to three scopes with limits of their own: companies of its state, companies without a state, and all. The
skipped weight is an upper bound; pairs whose bound reaches the limits are then compared exactly. Weights and
similarities are integers (per mille).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.text import uncounted

# A word within a typo agrees with this share of its weight.
TYPO_PER_CENT = 80
# Words of a name that count, with their typos.
MAX_PROBES = 256
# Where a name is searched: among the companies of its state, of no state, and all for a query with and without a state.
IN_STATE, STATELESS, ELSEWHERE, ANYWHERE = range(4)
SCOPES = 4


@uncounted
def find_probes(name, probes, weights, posting_starts, unknown_weight, tokens):  # type: ignore[no-untyped-def]
    """Write the distinct concepts of the name; return (count, weight of the name).

    ``probes``: int32 of shape (``MAX_PROBES``, 3): the concept, the weight and the information that it agrees with. The
    information of a typo is that of the more frequent word: SOLUTIONS says little, however rare BSOLUTIONS is.
    """
    token_starts, concepts, typo_starts, typos, extra_starts, extras, _ = tokens
    count, total = 0, 0
    for token in range(token_starts[name], token_starts[name + 1]):
        concept = concepts[token]
        own = 0
        if concept >= 0:
            own = weights[concept]
            if posting_starts[concept + 1] > posting_starts[concept]:
                count = _add_probe(probes, count, concept, own, own)
        for at in range(typo_starts[token], typo_starts[token + 1]):
            near = weights[typos[at]]
            information = min(near, own) if concept >= 0 else near
            near, information = near * TYPO_PER_CENT // 100, information * TYPO_PER_CENT // 100
            count = _add_probe(probes, count, typos[at], near, information)
            if concept < 0:
                own = max(own, weights[typos[at]])
        total += own if own > 0 else unknown_weight
    for at in range(extra_starts[name], extra_starts[name + 1]):
        count = _add_probe(probes, count, extras[at], weights[extras[at]], weights[extras[at]])
    return count, total


@uncounted
def _add_probe(probes, count, concept, weight, information):  # type: ignore[no-untyped-def]
    for at in range(count):
        if probes[at, 0] == concept:
            probes[at, 1] = max(probes[at, 1], weight)
            probes[at, 2] = max(probes[at, 2], information)
            return count
    if count == probes.shape[0]:  # of a longer name the first words count
        return count
    probes[count, 0], probes[count, 1], probes[count, 2] = concept, weight, information
    return count + 1


@njit(cache=True, nogil=True)
def similar_names(queries, states, query_counts, tokens, index, unknown_weight, limits, block_limit):  # type: ignore[no-untyped-def]
    """Return the pairs (query, index name) that are similar enough for the scope in which they are found.

    ``queries``: positions of names in ``tokens``; ``states``: the state code of each, -1 for unknown; ``query_counts``:
    recipients with the query, to count skipped pairs; ``index``: ``Vocabulary.index``; ``block_limit``: the longest
    block of a frequent word that is searched; ``limits``: int64 of shape (``SCOPES``, 3): the minimum overlap (per
    mille), the minimum information (weight), and the minimum share (per mille) of a pair that shares so much.

    A pair is returned if its overlap reaches the minimum, or its information does and the share of the lighter name
    that agrees. The overlap is the Dice coefficient: twice the shared weight over the sum of the weights. Information
    counts a typo as the more frequent word. Returns (query, name, overlap, information, or 0 if the share is too small,
    skipped blocks, skipped pairs).
    """
    shared = np.zeros(index[10].size, dtype=np.int32)
    touched = np.empty(index[10].size, dtype=np.int32)
    probe_weight_of = np.zeros(index[0].size, dtype=np.int32)
    probes = np.empty((MAX_PROBES, 3), dtype=np.int32)
    sizes = np.empty(MAX_PROBES, dtype=np.int32)
    begins = np.empty(MAX_PROBES, dtype=np.int32)
    asked = queries, states, query_counts, tokens, index, unknown_weight, limits, block_limit
    space = shared, touched, probe_weight_of, probes, sizes, begins
    out = np.empty((4, 1024), dtype=np.int32)
    query, written, skipped_blocks, skipped_pairs = 0, 0, 0, 0
    while True:
        query, written, blocks, pairs = _search(query, written, asked, space, out)
        skipped_blocks += blocks
        skipped_pairs += pairs
        if query == queries.size:
            break
        larger = np.empty((4, 2 * out.shape[1]), dtype=np.int32)
        larger[:, :written] = out[:, :written]
        out = larger
    return out[0, :written], out[1, :written], out[2, :written], out[3, :written], skipped_blocks, skipped_pairs


@uncounted
def _search(query, written, asked, space, out):  # type: ignore[no-untyped-def]
    """Write the pairs of the queries from ``query`` on, until the end or until ``out`` is full.

    ``asked``: arguments of ``similar_names``; ``space``: arrays to work in. Returns (query that did not fit, pairs
    written, skipped blocks, skipped pairs).
    """
    queries, states, query_counts, tokens, index, unknown_weight, limits, block_limit = asked
    weights, posting_starts, postings, common, _, state_postings, state_count = index[:7]
    home_postings, name_weights, name_starts, name_tokens, state_starts, name_states, stateless_count = index[9:]
    shared, touched, probe_weight_of, probes, sizes, begins = space
    starts = block_starts(index)
    skipped_blocks, skipped_pairs = 0, 0
    while query < queries.size:
        first, blocks, pairs = written, 0, 0
        count, total = find_probes(queries[query], probes, weights, posting_starts, unknown_weight, tokens)
        for probe in range(count):
            probe_weight_of[probes[probe, 0]] = probes[probe, 1]
        state = states[query]
        for scope in range(SCOPES):
            if not is_searched(scope, state, stateless_count, name_weights.size):
                continue
            bound = find_blocks(scope, state, count, probes, begins, sizes, total, limits, starts)
            touched_count = 0
            for probe in range(count):
                concept, weight, size = probes[probe, 0], probes[probe, 1], sizes[probe]
                if size == 0:
                    continue
                if size > block_limit and common[concept] >= 0:
                    blocks += query_counts[query]
                    pairs += query_counts[query] * size
                    bound += weight
                    continue
                begin = begins[probe]
                if scope >= ELSEWHERE:
                    touched_count = _add_postings(postings, begin, size, weight, shared, touched, touched_count)
                elif common[concept] >= 0:
                    touched_count = _add_postings(state_postings, begin, size, weight, shared, touched, touched_count)
                else:
                    touched_count = _add_postings(home_postings, begin, size, weight, shared, touched, touched_count)
            for at in range(touched_count):
                name = touched[at]
                own = name_weights[name]
                upper = min(shared[name] + bound, own)
                shared[name] = 0
                if not is_similar(upper, upper, total, own, limits, scope):
                    continue
                upper = 0
                for token in range(name_starts[name], name_starts[name + 1]):
                    upper += probe_weight_of[name_tokens[token]]
                if not is_similar(upper, upper, total, own, limits, scope):
                    continue
                agreed, informed = _agreed(name, probes, count, name_starts, name_tokens)
                if not is_similar(agreed, informed, total, own, limits, scope):
                    continue
                if scope > 0 and _is_in(name_states, state_starts[name], state_starts[name + 1], state):
                    if is_similar(agreed, informed, total, own, limits, IN_STATE):
                        continue  # found already
                if scope > STATELESS and _is_in(name_states, state_starts[name], state_starts[name + 1], state_count):
                    if is_similar(agreed, informed, total, own, limits, STATELESS):
                        continue
                if written < out.shape[1]:
                    out[0, written], out[1, written] = query, name
                    out[2, written] = min(1000, 2000 * agreed // (total + own))
                    out[3, written] = informed if is_contained(agreed, total, own, limits, scope) else 0
                written += 1
        for probe in range(count):
            probe_weight_of[probes[probe, 0]] = 0
        if written > out.shape[1]:
            return query, first, skipped_blocks, skipped_pairs
        skipped_blocks += blocks
        skipped_pairs += pairs
        query += 1
    return query, written, skipped_blocks, skipped_pairs


@njit(cache=True, nogil=True, inline="always")
def is_contained(agreed, weight, other, limits, scope):  # type: ignore[no-untyped-def]
    """Return whether enough of the lighter of two names of these weights agrees."""
    return 1000 * agreed >= limits[scope, 2] * min(weight, other)


@njit(cache=True, nogil=True, inline="always")
def is_similar(agreed, informed, weight, other, limits, scope):  # type: ignore[no-untyped-def]
    """Return whether two names of these weights are similar enough."""
    if 2000 * agreed >= limits[scope, 0] * (weight + other):
        return True
    return informed >= limits[scope, 1] and is_contained(agreed, weight, other, limits, scope)


@njit(cache=True, nogil=True, inline="always")
def is_searched(scope, state, stateless_count, name_count):  # type: ignore[no-untyped-def]
    """Return whether a query of the state is searched in the scope."""
    if scope == IN_STATE:
        return state >= 0
    if scope == STATELESS:
        return stateless_count > 0
    return stateless_count < name_count and (scope == ELSEWHERE) == (state >= 0)


@njit(cache=True, nogil=True, inline="always")
def block_starts(index):  # type: ignore[no-untyped-def]
    """Return the argument ``starts`` of ``find_blocks``."""
    return index[1], index[3], index[4], index[6], index[7], index[8]


@njit(cache=True, nogil=True, inline="always")
def _add_postings(postings, begin, size, weight, shared, touched, touched_count):  # type: ignore[no-untyped-def]
    """Add ``weight`` to the names of a block; return the new number of touched names."""
    for at in range(begin, begin + size):
        name = postings[at]
        if shared[name] == 0:
            touched[touched_count] = name
            touched_count += 1
        shared[name] += weight
    return touched_count


@uncounted
def find_blocks(scope, state, count, probes, begins, sizes, total, limits, starts):  # type: ignore[no-untyped-def]
    """Write the start and the size of each concept's block in the scope, size 0 for blocks that can be skipped; return
    the skipped weight."""
    posting_starts, common, state_starts, state_count, home_starts, home_states = starts
    segment = state if scope == IN_STATE else state_count
    for probe in range(count):
        concept = probes[probe, 0]
        place = common[concept]
        if scope >= ELSEWHERE:
            begin, end = posting_starts[concept], posting_starts[concept + 1]
        elif place >= 0:
            at = place * (state_count + 1) + segment
            begin, end = state_starts[at], state_starts[at + 1]
        else:
            begin, end = home_starts[concept], home_starts[concept + 1]
            if begin == end or home_states[begin] > segment or home_states[end - 1] < segment:
                begin = end
            else:
                begin = _first_not_below(home_states, begin, end, segment)
                end = _first_not_below(home_states, begin, end, segment + 1)
        begins[probe], sizes[probe] = begin, end - begin
    return _skip_blocks(count, probes, sizes, total, limits[scope, 0], limits[scope, 1])


@uncounted
def _first_not_below(ascending, begin, end, value):  # type: ignore[no-untyped-def]
    """Return the first position in ``ascending[begin:end]`` of a value not below ``value``, or ``end``."""
    while begin < end:
        middle = (begin + end) >> 1
        if ascending[middle] < value:
            begin = middle + 1
        else:
            end = middle
    return begin


@uncounted
def _skip_blocks(count, probes, sizes, total, floor, information):  # type: ignore[no-untyped-def]
    """Set the sizes of blocks that can be skipped to 0; return their weight.

    Skips the largest first, as long as a name that shares only skipped words cannot be similar enough. The best such
    name consists of just these words.
    """
    bound = 0
    while True:
        largest = -1
        for probe in range(count):
            if sizes[probe] > 0 and (largest < 0 or sizes[probe] > sizes[largest]):
                largest = probe
        if largest < 0:
            return bound
        weight = bound + probes[largest, 1]
        if weight >= information or 2000 * weight >= floor * (total + weight):
            return bound
        bound = weight
        sizes[largest] = 0


@uncounted
def _is_in(name_states, begin, end, state):  # type: ignore[no-untyped-def]
    """Return whether a company with the name is in the state, or has none."""
    for at in range(begin, end):
        if name_states[at] == state:
            return True
    return False


@uncounted
def _agreed(name, probes, count, token_starts, name_tokens):  # type: ignore[no-untyped-def]
    """Return the weight and the information that an index name shares with the probes."""
    agreed, informed = 0, 0
    for token in range(token_starts[name], token_starts[name + 1]):
        repeated = False
        for earlier in range(token_starts[name], token):
            repeated = repeated or name_tokens[earlier] == name_tokens[token]
        if repeated:  # a repeated word agrees once
            continue
        for probe in range(count):
            if probes[probe, 0] == name_tokens[token]:
                agreed += probes[probe, 1]
                informed += probes[probe, 2]
                break
    return agreed, informed
