"""Organisations among the candidates of a company: sources list one firm in several rows.

Two rows are one organisation if they have

- one UEI;
- one DUNS;
- one name (both are the company's name or a spelling of it, or both have the same own name) in one town (city and
  state, or ZIP code), if their streets do not differ: one is unknown or a PO box, or they have one name, whatever the
  house numbers and suites (12 and 18 Mill Street). A typing error in one town counts as well.

Each row joins the best documented row that it matches (``matching.kernels.clusters``): UEI, then DUNS, then the
completeness of the address; of several, that of its street, then the one most like the company. A row without any
place, or with a state only, joins the row of its name that is most like the company (in its state), unless it is more
like the company itself: a place that differs from the company's must not win by a row without one. Different UEIs are
never one organisation, nor are different DUNS in different towns. Rows beyond the first ``MAX_COMPARED`` of one name in
one town are compared with these only. Only the candidates of a company are compared, so that neither the order of
rows nor other companies change anything.

Covers what is one organisation, its members and the row that represents it. Does not cover probabilities (``scoring``).
"""

from __future__ import annotations

from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from enrich_dist.matching.kernels.clusters import assign_clusters, is_repeated
from enrich_dist.results.tables import Table, store_table
from enrich_dist.schema import NameKind, NameLevel, SiblingLevel

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MAX_COMPARED: Final = 64
"""Rows of one name in one town that each row is compared with: the best documented ones."""
# Scores of a match: one DUNS before one street before one town, then the weight of the row that it is joined to.
_SAME_DUNS, _SAME_STREET, _SAME_TOWN = 1e6, 1e4, 2e3
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # of Fibonacci hashing (Knuth), odd: no two keys become one
# Columns of the rows, for which callers fetch the others afterwards.
_KEPT = (
    "company_id", "source_row", "id_start", "id_middle", "id_key", "method_rank", "match_weight", "unseen_share",
    "confirmed", "rejected", "street_match", "documentation",
)  # fmt: skip
# By which rows are ordered: documentation, then likeness to the company. The first is the last of numpy.lexsort.
_DESCENDING = ("documentation", "match_weight", "street_match")
_ASCENDING = ("method_rank", "id_start", "id_middle", "id_key", "source_row")
_BY_DOCUMENTATION = ", ".join([*(f"{name} desc" for name in _DESCENDING), *_ASCENDING])


def group_organisations(connection: duckdb.DuckDBPyConnection, weighed: Table) -> Table:
    """Assign every candidate to an organisation; leave out the organisations of rejected pairs.

    ``organisation``: source row of one of its members; ``is_alone``: it has no other one; ``is_namesake``: it has the
    company's name. A rejected pair rejects all rows of its organisation that are not confirmed.
    """
    rows = connection.sql(f"""
        select company_id, source_row, id_start, id_middle, id_key, method_rank, match_weight, unseen_share, confirmed,
               rejected, street_level as street_match, documentation, uei_key, duns_key, name_key, state_key, town_key,
               zip_key, street_key, street_name_key,
               case when name_level >= {NameLevel.TYPO} and sibling_level = {SiblingLevel.NONE}
                    and name_kind <> {NameKind.PARENT} then name_code + 1 else 0 end::bigint as alike_key,
               name_level >= {NameLevel.SPELLING_VARIANT} as same_name
        from {weighed}
    """).to_arrow_table()
    column = {name: rows[name].to_numpy() for name in rows.column_names}
    cluster = np.arange(len(rows))
    chosen = _with_companions(column)
    by_documentation = [column[name][chosen] for name in _ASCENDING[::-1]]
    by_documentation += [-column[name][chosen] for name in _DESCENDING[::-1]]
    chosen = chosen[np.lexsort([*by_documentation, column["company_id"][chosen]])]
    cluster[chosen] = chosen[_clusters({name: values[chosen] for name, values in column.items()})]
    found = {
        "organisation": column["source_row"][cluster],
        "is_alone": np.bincount(cluster, minlength=len(cluster))[cluster] == 1,
        "is_namesake": (column["alike_key"] != 0) & column["same_name"],
    }
    table = rows.select(_KEPT)
    for name, values in found.items():
        table = table.append_column(name, pa.array(values))
    grouped = store_table(connection, "grouped", table)
    if column["rejected"].any():
        connection.execute(f"""
            delete from {grouped} using (select distinct company_id, organisation from {grouped} where rejected) r
            where {grouped}.company_id = r.company_id and {grouped}.organisation = r.organisation and not confirmed
        """)
    return grouped


def chosen_sql(rivals: Table, judged: Table, *, places: int | None = None) -> str:
    """Return a query of the rows of ``rivals`` of the best ``places`` organisations of each company, all by default."""
    chosen = "" if places is None else f" where place <= {places}"
    return f"""
        from {rivals} semi join (
            select company_id, organisation from {rivals} join {judged} using (company_id, source_row){chosen}
        ) using (company_id, organisation)
    """


def members_sql(chosen: str, candidates: Table) -> str:
    """Return a query of the members of organisations. ``chosen``: see ``chosen_sql``; ``candidates``: with their texts.

    ``company_id``, ``organisation``; ``published_row``: source row of the confirmed member, else of the best documented
    one; ``members``: recipient ids in order; ``cluster_id``: ``uei:`` and the UEI, else ``duns:`` and the lowest DUNS,
    else ``recipient:`` and the lowest recipient id. It is the same in every run with the same members, whatever the
    order of the rows and the number of workers; another member changes it only where its identifier comes first.
    """
    return f"""
        select company_id, organisation, list(recipient_id order by recipient_id) as members,
               first(source_row order by confirmed desc, {_BY_DOCUMENTATION}) as published_row,
               coalesce('uei:' || min(uei), 'duns:' || min(duns), 'recipient:' || min(recipient_id)) as cluster_id
        from ({chosen}) join (select company_id, source_row, recipient_id, uei, duns from {candidates})
        using (company_id, source_row)
        group by all
    """


def _with_companions(column: dict[str, npt.NDArray[Any]]) -> Ints:
    """Return the positions of the rows that another row of the company may be one organisation with."""
    company = column["company_id"].astype(np.int64) + 1
    alike, own = (_both(company, column[name]) for name in ("alike_key", "name_key"))
    groups = [_both(name, column[place]) for name in (alike, own) for place in ("town_key", "zip_key")]
    groups += [_both(company, column[name]) for name in ("uei_key", "duns_key")]
    # A row without any place joins one of its name.
    anonymous = (column["town_key"] == 0) & (column["zip_key"] == 0)
    for name in (alike, own) if anonymous.any() else ():
        groups.append(np.where(np.isin(name, name[anonymous]), name, 0))
    return np.flatnonzero(np.logical_or.reduce([is_repeated(group) for group in groups]))


def _clusters(column: dict[str, npt.NDArray[Any]]) -> Ints:
    """Return the position of the representative of each row. The rows of a company are together, by documentation."""
    company, weight, same = column["company_id"].astype(np.int64) + 1, column["match_weight"], column["same_name"]
    uei, duns, state, town, in_zip, street, street_name = (
        column[f"{name}_key"] for name in ("uei", "duns", "state", "town", "zip", "street", "street_name")
    )
    alike, own = (_both(company, column[name]) for name in ("alike_key", "name_key"))
    pairs = [_pairs(_both(name, place)) for name in (alike, own) for place in (town, in_zip)]
    pairs.append(_pairs(_both(company, duns)))
    later, earlier = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    # Two names that are both one typing error away from the company's are not alike.
    one_own, one_duns = (_equal(keys, later, earlier) for keys in (own, duns))
    one_street = (street_name[later] == 0) | (street_name[earlier] == 0) | _equal(street_name, later, earlier)
    kept = one_duns | (one_street & (same[later] | same[earlier] | one_own))
    later, earlier, one_duns = later[kept], earlier[kept], one_duns[kept]
    scores = _SAME_TOWN + weight[earlier] + _SAME_DUNS * one_duns + _SAME_STREET * _equal(street, later, earlier)
    order = np.argsort(later, kind="stable")
    starts = np.searchsorted(later[order], np.arange(len(company) + 1))
    ueis, numbers, towns = (_codes(_both(company, keys)) for keys in (uei, duns, town))
    cluster, _ = assign_clusters(starts, earlier[order], np.maximum(scores[order], 1.0), ueis, numbers, towns, 0.0)
    anonymous = (uei == 0) & (duns == 0) & (town == 0) & (in_zip == 0)
    for name in (np.where(same, alike, 0), own):
        _join_best(cluster, anonymous, _both(name, state), weight)
        _join_best(cluster, anonymous & (state == 0), name, weight)
    return np.asarray(cluster)


def _join_best(cluster: Ints, anonymous: Bools, group: Ints, weight: Floats) -> None:
    """Give rows without a town that are alone the cluster of the best other row of their group, in place."""
    lone = anonymous & (group != 0) & (cluster == np.arange(len(cluster)))
    lone &= np.bincount(cluster, minlength=len(cluster)) == 1
    if not lone.any():
        return
    rows = np.flatnonzero(lone)
    # The best of a group: a row with a town if there is one, then by weight, then by documentation.
    members = np.flatnonzero(np.isin(group, group[rows]))
    order = members[np.lexsort((-weight[members], lone[members], group[members]))]
    first = order[np.searchsorted(group[order], group[rows])]
    joins = lone[first] | (weight[first] >= weight[rows])
    cluster[rows[joins]] = cluster[first[joins]]


def _pairs(group: Ints) -> tuple[Ints, Ints]:
    """Return (later, earlier): each row with the first ``MAX_COMPARED`` rows before it in its group; 0 is none."""
    members = np.flatnonzero(group)
    order = members[np.argsort(group[members], kind="stable")]
    sorted_groups = group[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = sorted_groups[1:] != sorted_groups[:-1]
    begin = np.flatnonzero(is_first)[np.cumsum(is_first) - 1] if len(order) else order
    counts = np.minimum(np.arange(len(order)) - begin, MAX_COMPARED)
    later = np.repeat(np.arange(len(order)), counts)
    inside = np.arange(len(later)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[later], order[begin[later] + inside]


def _equal(keys: Ints, later: Ints, earlier: Ints) -> Bools:
    return np.asarray((keys[later] != 0) & (keys[later] == keys[earlier]))


def _both(first: Ints, second: Ints) -> Ints:
    """Return a key per pair of keys, 0 where one of them is 0."""
    mixed = first.view(np.uint64) * _MULTIPLIER + second.view(np.uint64)
    mixed ^= mixed >> np.uint64(32)
    mixed *= _MULTIPLIER
    return np.asarray(np.where((first != 0) & (second != 0), mixed.view(np.int64), 0))


def _codes(keys: Ints) -> Ints:
    """Return a code per key from 0 on, -1 for 0."""
    codes = np.full(len(keys), -1, dtype=np.int64)
    known = np.flatnonzero(keys)
    codes[known] = np.unique(keys[known], return_inverse=True)[1]
    return codes
