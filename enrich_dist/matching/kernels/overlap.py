"""Pairs of names that share enough of what tells them apart: a weighted set-similarity join, and its comparison.

Covers the join over posting lists with the idea of the prefix filter (Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma
and Srikant 2007, All-Pairs): the largest blocks of a name are left out as long as what they could add cannot make a
match by itself. A name is looked for twice: at home, among the names of its state, by all its concepts; and everywhere
by its rare ones, where more overlap is asked, so that more can be left out. What is left out adds to the bound, and
pairs whose bound reaches the floor are counted exactly.
Weights and similarities are whole numbers (per mille).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.text import edit_distance, grown
from enrich_dist.schema import NameLevel

# Share of its weight that a word within a typo agrees by.
TYPO_PER_CENT = 80

# Plain integers, which numba compiles into the loops.
(
    NOTHING_IN_COMMON,
    DIFFERENT_WORDS,
    ADDITIONAL_WORDS,
    DIFFERENT_COMMON_WORDS,
    ADDITIONAL_COMMON_WORDS,
    TYPO,
    SPELLING_VARIANT,
    EQUAL,
) = map(int, NameLevel)
MIN_WHOLE_TYPO_LENGTH = 8
# Sources cut names at 30 characters; of these a normal form keeps most.
MIN_CUT_LENGTH = 24


@njit(cache=True, nogil=True)
def _probes(  # type: ignore[no-untyped-def]
    name,
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
):
    """Distinct concepts of the name with the weight by which each agrees; returns (count, weight of the name)."""
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
    if count == probes.size:  # a name of more words than that is told by its first ones
        return count
    probes[count], probe_weights[count] = concept, weight
    return count + 1


@njit(cache=True, nogil=True)
def similar_names(queries, states, bearers, tokens, index, unknown_weight, floors, floor_elsewhere, block_limit):  # type: ignore[no-untyped-def]
    """Pairs (query, index name) whose weighted overlap is at least their floor (``floors``: per mille, Dice).

    ``queries``: positions of names in ``tokens``; ``states``: the state code of each, -1 where unknown; ``bearers``:
    how many recipients ask, by which what is left out is counted. ``index``: ``Vocabulary.index``.
    ``floor_elsewhere``: that of names no company of which may be in the query's state. ``block_limit``: longest posting
    list of a common word that is looked at.

    Dice of two names is twice the weight they share over the sum of their weights. Returns (query, name, similarity,
    blocks left out, pairs left out).
    """
    token_starts, concepts, _, typo_starts, typos, extra_starts, extras, _ = tokens
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
    agrees_by = np.zeros(weights.size, dtype=np.int32)
    probes = np.empty(256, dtype=np.int32)
    probe_weights = np.empty(256, dtype=np.int32)
    sizes = np.empty(256, dtype=np.int32)
    blocks = np.empty((256, 4), dtype=np.int32)
    out_query = np.empty(1024, dtype=np.int32)
    out_name = np.empty(1024, dtype=np.int32)
    out_similarity = np.empty(1024, dtype=np.int32)
    written, blocks_out, pairs_out = 0, 0, 0
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
        for probe in range(count):
            agrees_by[probes[probe]] = probe_weights[probe]
        state = states[query]
        for home in (True, False):
            floor = floors[query] if home or state < 0 else max(floors[query], floor_elsewhere)
            if home:
                if state < 0:
                    continue
                bound = _home_blocks(
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
                if not home:
                    for at in range(posting_starts[concept], posting_starts[concept + 1]):
                        name = postings[at]
                        if shared[name] == 0:
                            touched[touched_count] = name
                            touched_count += 1
                        shared[name] += weight
                    continue
                capped = common[concept] >= 0
                # The names of the state, then those of companies without one. One in both counts twice: no harm in a
                # bound.
                for part in range(2):
                    begin, end = blocks[probe, 2 * part], blocks[probe, 2 * part + 1]
                    if capped and end - begin > block_limit:
                        blocks_out += bearers[query]
                        pairs_out += bearers[query] * (end - begin)
                        bound += weight
                        continue
                    for at in range(begin, end):
                        name = state_postings[at] if capped else home_postings[at]
                        if shared[name] == 0:
                            touched[touched_count] = name
                            touched_count += 1
                        shared[name] += weight
            for at in range(touched_count):
                name = touched[at]
                whole = total + name_weights[name]
                most = min(shared[name] + bound, name_weights[name])
                shared[name] = 0
                if 2000 * most < floor * whole:
                    continue
                most = 0
                for token in range(name_token_starts[name], name_token_starts[name + 1]):
                    most += agrees_by[name_tokens[token]]
                if 2000 * most < floor * whole:
                    continue
                agreed = _agreed(name, probes, probe_weights, count, name_token_starts, name_tokens)
                if 2000 * agreed < floor * whole:
                    continue
                # Those at home are found already.
                if (
                    not home
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
            agrees_by[probes[probe]] = 0
    return out_query[:written], out_name[:written], out_similarity[:written], blocks_out, pairs_out


@njit(cache=True, nogil=True)
def _home_blocks(  # type: ignore[no-untyped-def]
    count, probes, probe_weights, sizes, blocks, total, floor,
    state, common, state_starts, state_count, home_starts, home_states,
):  # fmt: skip
    """Write where the names of the state, and those of none, stand that bear each concept (``blocks``), and the sizes
    of the blocks that must be looked into, 0 for others; return the weight of all that are left out."""
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
    return _leave_out(count, probe_weights, sizes, 0, total, floor)


@njit(cache=True, nogil=True)
def _first_not_below(ascending, begin, end, value):  # type: ignore[no-untyped-def]
    """Where in ``ascending[begin:end]`` the first member not below the value stands; ``end`` where there is none."""
    while begin < end:
        middle = (begin + end) >> 1
        if ascending[middle] < value:
            begin = middle + 1
        else:
            end = middle
    return begin


@njit(cache=True, nogil=True)
def _blocks_everywhere(count, probes, probe_weights, sizes, total, floor, common, posting_starts):  # type: ignore[no-untyped-def]
    """Write the sizes of the blocks of rare concepts that must be looked into, 0 for others; return the weight of all
    that are not."""
    bound = 0
    for probe in range(count):
        concept = probes[probe]
        if common[concept] < 0:
            sizes[probe] = posting_starts[concept + 1] - posting_starts[concept]
        else:
            sizes[probe] = 0
            bound += probe_weights[probe]
    return _leave_out(count, probe_weights, sizes, bound, total, floor)


@njit(cache=True, nogil=True)
def _leave_out(count, probe_weights, sizes, bound, total, floor):  # type: ignore[no-untyped-def]
    """Set the sizes of blocks that need not be looked into to 0; return their weight and ``bound``.

    The largest go first, while names that share nothing but what was left out cannot reach the floor: the best of them
    would weigh no more than just that.
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
    """Whether a company that bears the name is in the state, or nobody knows where it is."""
    for at in range(begin, end):
        if name_states[at] == state or name_states[at] == unknown:
            return True
    return False


@njit(cache=True, nogil=True)
def _agreed(name, probes, probe_weights, count, token_starts, name_tokens):  # type: ignore[no-untyped-def]
    """Weight that an index name shares with the probes."""
    agreed = 0
    for token in range(token_starts[name], token_starts[name + 1]):
        repeated = False
        for earlier in range(token_starts[name], token):
            repeated = repeated or name_tokens[earlier] == name_tokens[token]
        if repeated:  # a word that stands twice agrees once
            continue
        for probe in range(count):
            if probes[probe] == name_tokens[token]:
                agreed += probe_weights[probe]
                break
    return agreed


@njit(cache=True, nogil=True)
def compare_names(left, right, tokens, index, left_text, right_text, unknown_weight, common_weight, exact, cut):  # type: ignore[no-untyped-def]
    """How alike names are: (level int8, agreement, similarity), the latter two int32 per mille.

    ``left``: positions in ``tokens``; ``right``: index names; ``exact``, ``cut``: pairs that are equal, or of which one
    is the other cut short. ``agreement`` is the share of the index name's weight that agrees. A word is common that
    weighs ``common_weight`` at most.
    """
    token_starts, concepts, numeric, typo_starts, typos, _, _, compact = tokens
    weights, name_weights, name_starts, name_tokens = index[0], index[10], index[11], index[12]
    concept_numeric, name_compact = index[15], index[16]
    left_data, left_starts = left_text
    right_data, right_starts = right_text
    levels = np.empty(left.size, dtype=np.int8)
    agreements = np.empty(left.size, dtype=np.int32)
    similarities = np.empty(left.size, dtype=np.int32)
    paired = np.empty(256, dtype=np.bool_)
    for pair in range(left.size):
        name, other = left[pair], right[pair]
        if exact[pair] or compact[name] == name_compact[other] or cut[pair]:
            levels[pair] = EQUAL if exact[pair] else SPELLING_VARIANT
            agreements[pair] = similarities[pair] = 1000
            continue
        first, last = token_starts[name], min(token_starts[name + 1], token_starts[name] + 256)
        paired[: last - first] = False
        agreed, typo_count = 0, 0
        missing, missing_distinct, missing_number = 0, False, False
        for token in range(name_starts[other], name_starts[other + 1]):
            concept = name_tokens[token]
            found = -1
            near = False
            for mine in range(first, last):
                if not paired[mine - first] and concepts[mine] == concept:
                    found = mine
                    near = False
                    break
                if found < 0 and not paired[mine - first]:
                    for at in range(typo_starts[mine], typo_starts[mine + 1]):
                        if typos[at] == concept:
                            found = mine
                            near = True
                            break
            if found >= 0:
                paired[found - first] = True
                agreed += weights[concept] * TYPO_PER_CENT // 100 if near else weights[concept]
                typo_count += near
            else:
                missing += 1
                missing_distinct = missing_distinct or weights[concept] > common_weight or concept_numeric[concept]
                missing_number = missing_number or concept_numeric[concept]
        more, more_distinct, more_number = 0, False, False
        total = 0
        for mine in range(first, last):
            weight = weights[concepts[mine]] if concepts[mine] >= 0 else unknown_weight
            total += weight
            if not paired[mine - first]:
                more += 1
                more_distinct = more_distinct or weight > common_weight or numeric[mine]
                more_number = more_number or numeric[mine]
        whole = name_weights[other]
        agreements[pair] = min(1000, 1000 * agreed // max(whole, 1))
        similarities[pair] = min(999, 2000 * agreed // max(whole + total, 1))
        if missing == 0 and more == 0:
            levels[pair] = TYPO if typo_count else SPELLING_VARIANT
        elif _is_cut(
            left_data,
            left_starts[name],
            left_starts[name + 1],
            right_data,
            right_starts[other],
            right_starts[other + 1],
        ):
            levels[pair] = SPELLING_VARIANT
            agreements[pair] = 1000
        elif missing_number and more_number:
            levels[pair] = DIFFERENT_WORDS if agreed else NOTHING_IN_COMMON
        elif (
            (last - first) != name_starts[other + 1] - name_starts[other]
            and not (missing_number or more_number)  # a number is no typing error
            and _is_joined_typo(
                left_data,
                left_starts[name],
                left_starts[name + 1],
                right_data,
                right_starts[other],
                right_starts[other + 1],
            )
        ):
            levels[pair] = TYPO
            agreements[pair] = similarities[pair] = 900
        elif agreed == 0:
            levels[pair] = NOTHING_IN_COMMON
        elif missing == 0 or more == 0:
            levels[pair] = ADDITIONAL_WORDS if missing_distinct or more_distinct else ADDITIONAL_COMMON_WORDS
        elif missing_distinct or more_distinct:
            levels[pair] = DIFFERENT_WORDS
        else:
            levels[pair] = DIFFERENT_COMMON_WORDS
    return levels, agreements, similarities


@njit(cache=True, nogil=True)
def _is_cut(left, left_begin, left_end, right, right_begin, right_end):  # type: ignore[no-untyped-def]
    """Whether one of two names is the other, cut short within a word."""
    left_size, right_size = left_end - left_begin, right_end - right_begin
    shorter = min(left_size, right_size)
    if left_size == right_size or shorter < MIN_CUT_LENGTH:
        return False
    for at in range(shorter):
        if left[left_begin + at] != right[right_begin + at]:
            return False
    follows = left[left_begin + shorter] if left_size > shorter else right[right_begin + shorter]
    return follows != 32


@njit(cache=True, nogil=True)
def _is_joined_typo(left, left_begin, left_end, right, right_begin, right_end):  # type: ignore[no-untyped-def]
    """Whether two names of other numbers of words are within a typo once written together."""
    if abs((left_end - left_begin) - (right_end - right_begin)) > 4:
        return False
    one = np.empty(left_end - left_begin, dtype=np.uint8)
    two = np.empty(right_end - right_begin, dtype=np.uint8)
    one_size, two_size = 0, 0
    for at in range(left_begin, left_end):
        if left[at] != 32:
            one[one_size] = left[at]
            one_size += 1
    for at in range(right_begin, right_end):
        if right[at] != 32:
            two[two_size] = right[at]
            two_size += 1
    if min(one_size, two_size) < MIN_WHOLE_TYPO_LENGTH:
        return False
    return edit_distance(one, 0, one_size, two, 0, two_size, 1) <= 1
