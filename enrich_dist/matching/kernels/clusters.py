"""Clusters of records of one organisation, around the best documented record of each.

Greedy correlation clustering with pivots (Ailon, Charikar and Newman 2008, *Aggregating inconsistent information*), the
pivots in the order of the records: a record joins a cluster only if it matches the representative itself, or a record
with the identifier of the representative. A chain of weak links can therefore not join unlike records.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_SEVERAL = -2


@njit(cache=True, nogil=True)
def assign_clusters(starts, earlier, scores, ueis, duns, towns, min_share):  # type: ignore[no-untyped-def]
    """Return (cluster, share) of each record: int64, the number of its representative; and float64.

    Records are numbered by documentation, the best first; those with a UEI precede those without. The matches of record
    ``r`` are ``earlier[starts[r]:starts[r + 1]]`` (int64, each below ``r``), with positive ``scores`` (float64).
    ``ueis``, ``duns``, ``towns``: int64 codes, -1 for unknown.

    Records with one UEI are one cluster, in which all count as representatives. Any other record joins the cluster with
    the best score (the first among equals), if this is at least ``min_share`` of 1 + the best scores of all clusters
    that it could join; the share is returned. Otherwise it starts a cluster, with share 0. No cluster has two UEIs, and
    none without a UEI has two DUNS in different or unknown towns.
    """
    count = ueis.size
    cluster = np.empty(count, dtype=np.int64)
    share = np.zeros(count, dtype=np.float64)
    is_core = np.zeros(count, dtype=np.bool_)
    first_of_uei = np.full(ueis.max() + 1 if count else 0, -1, dtype=np.int64)
    # DUNS and town of the records with a DUNS in a cluster: a code, -1 for none, or _SEVERAL.
    duns_of = np.full(count, -1, dtype=np.int64)
    town_of = np.full(count, -1, dtype=np.int64)
    best = np.zeros(count, dtype=np.float64)
    for record in range(count):
        uei, number, town = ueis[record], duns[record], towns[record]
        found = -1
        if uei >= 0:
            found = first_of_uei[uei]
            is_core[record] = True
        else:
            total = 0.0
            for at in range(starts[record], starts[record + 1]):
                if not is_core[earlier[at]]:
                    continue
                to = cluster[earlier[at]]
                joined = duns_of[to]
                if number >= 0 and joined != -1 and joined != number and (town < 0 or town_of[to] != town):
                    continue
                if scores[at] > best[to]:
                    total += scores[at] - best[to]
                    best[to] = scores[at]
                if found < 0 or best[to] > best[found] or (best[to] == best[found] and to < found):
                    found = to
            if found >= 0:
                share[record] = best[found] / (1.0 + total)
            for at in range(starts[record], starts[record + 1]):
                best[cluster[earlier[at]]] = 0.0
            if share[record] < min_share:
                found = -1
        if found < 0:
            found = record
            share[record] = 0.0
            is_core[record] = True
            if uei >= 0:
                first_of_uei[uei] = record
        cluster[record] = found
        if number >= 0:
            duns_of[found] = number if duns_of[found] in (-1, number) else _SEVERAL
            # A town that is unknown equals none.
            town_of[found] = town if town >= 0 and town_of[found] in (-1, town) else _SEVERAL
    return cluster, share


@njit(cache=True, nogil=True)
def is_repeated(keys):  # type: ignore[no-untyped-def]
    """Return which keys (int64, hashes) are not 0 and occur more than once."""
    size = 4
    while size < 2 * keys.size:
        size *= 2
    first = np.full(size, -1, dtype=np.int64)  # the position of each key that was seen
    repeated = np.zeros(keys.size, dtype=np.bool_)
    for number in range(keys.size):
        if keys[number] == 0:
            continue
        at = keys[number] & (size - 1)
        while first[at] >= 0 and keys[first[at]] != keys[number]:
            at = (at + 1) & (size - 1)
        if first[at] < 0:
            first[at] = number
        else:
            repeated[number] = repeated[first[at]] = True
    return repeated
