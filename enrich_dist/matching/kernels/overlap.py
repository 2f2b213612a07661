"""Candidate names: a weighted set-similarity join over posting lists.

Blocking with the prefix filter (Chaudhuri, Ganti and Kaushik 2006; All-Pairs of Bayardo, Ma and Srikant 2007): the
largest blocks of a name are skipped as long as a name that shares only their words cannot reach the floor. A name is
searched twice: within its state by all its words, and everywhere by its rare words with a higher floor. The skipped
weight is an upper bound; pairs whose bound reaches the floor are then compared exactly. Weights and similarities are
integers (per mille).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.text import grown

# A word within a typo agrees with this share of its weight.
TYPO_PER_CENT = 80


@njit(cache=True, nogil=True)
def _probes(name, probes, probe_weights, weights, posting_starts, unknown_weight, tokens):  # type: ignore[no-untyped-def]
    """Write the distinct concepts of the name, and the weight each agrees with; return (count, weight of the name)."""
    token_starts, concepts, _, typo_starts, typos, extra_starts, extras, _ = tokens
    count, total = 0, 0
    for token in range(token_starts[name], token_starts[name + 1]):
        concept = concepts[token]
        own = 0
        if concept >= 0:
            own = weights[concept]
            if posting_starts[concept + 1] > posting_starts[concept]:
                count = _add_probe(probes, probe_weights, count, concept, own)
        for at in range(typo_starts[token], typo_starts[token + 1]):
            near = weights[typos[at]] * TYPO_PER_CENT // 100
            count = _add_probe(probes, probe_weights, count, typos[at], near)
            if concept < 0:
                own = max(own, weights[typos[at]])
        total += own if own > 0 else unknown_weight
    for at in range(extra_starts[name], extra_starts[name + 1]):
        count = _add_probe(probes, probe_weights, count, extras[at], weights[extras[at]])
    return count, total


@njit(cache=True, nogil=True)
def _add_probe(probes, probe_weights, count, concept, weight):  # type: ignore[no-untyped-def]
    for at in range(count):
        if probes[at] == concept:
            probe_weights[at] = max(probe_weights[at], weight)
            return count
    if count == probes.size:  # of a longer name the first words count
        return count
    probes[count], probe_weights[count] = concept, weight
    return count + 1


@njit(cache=True, nogil=True)
def similar_names(queries, states, query_counts, tokens, index, unknown_weight, floors, floor_elsewhere, block_limit):  # type: ignore[no-untyped-def]
    """Return the pairs (query, index name) whose weighted overlap (Dice, per mille) reaches their floor.

    ``queries``: positions of names in ``tokens``; ``states``: the state code of each, -1 for unknown; ``query_counts``:
    recipients with the query, to count skipped pairs; ``index``: ``Vocabulary.index``; ``floors``: of each query;
    ``floor_elsewhere``: of names without a company in the query's state; ``block_limit``: the longest posting list of a
    common word that is searched.

    The Dice coefficient of two names is twice their shared weight over the sum of their weights. Returns (query, name,
    similarity, skipped blocks, skipped pairs).
    """
    (
        weights,
        posting_starts,
        postings,
        common,
        state_starts,
        state_postings,
        state_count,
        home_starts,
        home_states,
        home_postings,
        name_weights,
        name_token_starts,
        name_tokens,
        name_state_starts,
        name_states,
    ) = index
    names = name_weights.size
    shared = np.zeros(names, dtype=np.int32)
    touched = np.empty(names, dtype=np.int32)
    probe_weight_of = np.zeros(weights.size, dtype=np.int32)
    probes = np.empty(256, dtype=np.int32)
    probe_weights = np.empty(256, dtype=np.int32)
    sizes = np.empty(256, dtype=np.int32)
    blocks = np.empty((256, 4), dtype=np.int32)
    out_query = np.empty(1024, dtype=np.int32)
    out_name = np.empty(1024, dtype=np.int32)
    out_similarity = np.empty(1024, dtype=np.int32)
    written, skipped_blocks, skipped_pairs = 0, 0, 0
    for query in range(queries.size):
        count, total = _probes(queries[query], probes, probe_weights, weights, posting_starts, unknown_weight, tokens)
        for probe in range(count):
            probe_weight_of[probes[probe]] = probe_weights[probe]
        state = states[query]
        for in_state in (True, False):
            floor = floors[query] if in_state or state < 0 else max(floors[query], floor_elsewhere)
            if in_state:
                if state < 0:
                    continue
                bound = _blocks_in_state(
                    count, probes, probe_weights, sizes, blocks, total, floor,
                    state, common, state_starts, state_count, home_starts, home_states,
                )  # fmt: skip
            else:
                bound = _blocks_everywhere(count, probes, probe_weights, sizes, total, floor, common, posting_starts)
            touched_count = 0
            for probe in range(count):
                if sizes[probe] == 0:
                    continue
                concept, weight = probes[probe], probe_weights[probe]
                if not in_state:
                    begin, end = posting_starts[concept], posting_starts[concept + 1]
                    touched_count = _add_postings(postings, begin, end, weight, shared, touched, touched_count)
                    continue
                capped = common[concept] >= 0
                # The names of the state, then those of companies without a state. A name in both counts twice, which
                # keeps the bound an upper bound.
                for part in range(2):
                    begin, end = blocks[probe, 2 * part], blocks[probe, 2 * part + 1]
                    if capped and end - begin > block_limit:
                        skipped_blocks += query_counts[query]
                        skipped_pairs += query_counts[query] * (end - begin)
                        bound += weight
                        continue
                    names_of = state_postings if capped else home_postings
                    touched_count = _add_postings(names_of, begin, end, weight, shared, touched, touched_count)
            for at in range(touched_count):
                name = touched[at]
                whole = total + name_weights[name]
                upper = min(shared[name] + bound, name_weights[name])
                shared[name] = 0
                if 2000 * upper < floor * whole:
                    continue
                upper = 0
                for token in range(name_token_starts[name], name_token_starts[name + 1]):
                    upper += probe_weight_of[name_tokens[token]]
                if 2000 * upper < floor * whole:
                    continue
                agreed = _agreed(name, probes, probe_weights, count, name_token_starts, name_tokens)
                if 2000 * agreed < floor * whole:
                    continue
                # Names in the state are found already.
                if (
                    not in_state
                    and state >= 0
                    and _may_be_in(
                        name_states, name_state_starts[name], name_state_starts[name + 1], state, state_count
                    )
                ):
                    continue
                if written == out_query.size:
                    out_query = grown(out_query, written + 1)
                    out_name = grown(out_name, written + 1)
                    out_similarity = grown(out_similarity, written + 1)
                out_query[written], out_name[written] = query, name
                out_similarity[written] = min(1000, 2000 * agreed // whole)
                written += 1
        for probe in range(count):
            probe_weight_of[probes[probe]] = 0
    return out_query[:written], out_name[:written], out_similarity[:written], skipped_blocks, skipped_pairs


@njit(cache=True, nogil=True, inline="always")
def _add_postings(postings, begin, end, weight, shared, touched, touched_count):  # type: ignore[no-untyped-def]
    """Add ``weight`` to all names of ``postings[begin:end]``; return the new number of touched names."""
    for at in range(begin, end):
        name = postings[at]
        if shared[name] == 0:
            touched[touched_count] = name
            touched_count += 1
        shared[name] += weight
    return touched_count


@njit(cache=True, nogil=True)
def _blocks_in_state(  # type: ignore[no-untyped-def]
    count, probes, probe_weights, sizes, blocks, total, floor,
    state, common, state_starts, state_count, home_starts, home_states,
):  # fmt: skip
    """Write each concept's posting ranges of the state and of no state (``blocks``), and the sizes of the blocks to
    search, 0 for skipped ones (``sizes``); return the skipped weight."""
    for probe in range(count):
        concept = probes[probe]
        place = common[concept]
        for part, segment in enumerate((state, state_count)):
            if place >= 0:
                at = place * (state_count + 1) + segment
                begin, end = state_starts[at], state_starts[at + 1]
            else:
                first, last = home_starts[concept], home_starts[concept + 1]
                begin = _first_not_below(home_states, first, last, segment)
                end = _first_not_below(home_states, begin, last, segment + 1)
            blocks[probe, 2 * part], blocks[probe, 2 * part + 1] = begin, end
        sizes[probe] = blocks[probe, 1] - blocks[probe, 0] + blocks[probe, 3] - blocks[probe, 2]
    return _skip_blocks(count, probe_weights, sizes, 0, total, floor)


@njit(cache=True, nogil=True)
def _first_not_below(ascending, begin, end, value):  # type: ignore[no-untyped-def]
    """Return the first position in ``ascending[begin:end]`` of a value not below ``value``, or ``end``."""
    while begin < end:
        middle = (begin + end) >> 1
        if ascending[middle] < value:
            begin = middle + 1
        else:
            end = middle
    return begin


@njit(cache=True, nogil=True)
def _blocks_everywhere(count, probes, probe_weights, sizes, total, floor, common, posting_starts):  # type: ignore[no-untyped-def]
    """Write the sizes of the blocks of rare concepts to search, 0 for others; return the skipped weight."""
    bound = 0
    for probe in range(count):
        concept = probes[probe]
        if common[concept] < 0:
            sizes[probe] = posting_starts[concept + 1] - posting_starts[concept]
        else:
            sizes[probe] = 0
            bound += probe_weights[probe]
    return _skip_blocks(count, probe_weights, sizes, bound, total, floor)


@njit(cache=True, nogil=True)
def _skip_blocks(count, probe_weights, sizes, bound, total, floor):  # type: ignore[no-untyped-def]
    """Set the sizes of blocks that can be skipped to 0; return their weight plus ``bound``.

    Skips the largest first, as long as a name that shares only skipped words cannot reach the floor. The best such name
    consists of just these words.
    """
    while True:
        largest = -1
        for probe in range(count):
            if sizes[probe] > 0 and (largest < 0 or sizes[probe] > sizes[largest]):
                largest = probe
        if largest < 0:
            return bound
        weight = probe_weights[largest]
        if 2000 * (bound + weight) >= floor * (total + bound + weight):
            return bound
        bound += weight
        sizes[largest] = 0


@njit(cache=True, nogil=True)
def _may_be_in(name_states, begin, end, state, unknown):  # type: ignore[no-untyped-def]
    """Return whether a company with the name is, or may be, in the state."""
    for at in range(begin, end):
        if name_states[at] == state or name_states[at] == unknown:
            return True
    return False


@njit(cache=True, nogil=True)
def _agreed(name, probes, probe_weights, count, token_starts, name_tokens):  # type: ignore[no-untyped-def]
    """Return the weight that an index name shares with the probes."""
    agreed = 0
    for token in range(token_starts[name], token_starts[name + 1]):
        repeated = False
        for earlier in range(token_starts[name], token):
            repeated = repeated or name_tokens[earlier] == name_tokens[token]
        if repeated:  # a repeated word agrees once
            continue
        for probe in range(count):
            if probes[probe] == name_tokens[token]:
                agreed += probe_weights[probe]
                break
    return agreed
