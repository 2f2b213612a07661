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

from collections.abc import Iterator
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching.arrays import as_array
from enrich_dist.matching.kernels.clusters import assign_clusters
from enrich_dist.matching.normalise import normalise_cities, normalise_names, normalise_streets
from enrich_dist.results.tables import Table, create_table, store_table
from enrich_dist.schema import NameKind, NameLevel, SiblingLevel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAX_COMPARED: Final = 64
"""Rows of one name in one town that each row is compared with: the best documented ones."""
_BATCH_ROWS = 200_000
_LABELS = pa.schema([("company_id", pa.int32()), ("source_row", pa.int64()), ("organisation", pa.int64())])
# Scores of a match: one DUNS before one street before one town, then the weight of the row that it is joined to.
_SAME_DUNS, _SAME_STREET, _SAME_TOWN = 1e6, 1e4, 2e3
_BY_WEIGHT = "match_weight desc, street_match desc, method_rank, recipient_id, source_row"
_BY_DOCUMENTATION = f"documentation desc, {_BY_WEIGHT}"


def group_organisations(connection: duckdb.DuckDBPyConnection, weighed: Table) -> Table:
    """Assign every candidate to an organisation; leave out the organisations of rejected pairs.

    ``organisation``: source row of one of its members; ``documentation``: how well a row is documented. A rejected pair
    rejects all rows of its organisation that are not confirmed.
    """
    rows = create_table(
        connection,
        "organisation_rows",
        f"""
        select company_id, source_row, recipient_id, uei, duns, match_method, method_rank, match_weight, unseen_share,
               confirmed, rejected, street_level as street_match,
               case when name_level >= {NameLevel.TYPO} and sibling_level = {SiblingLevel.NONE}
                    and name_kind <> {NameKind.PARENT} then name_code end as alike_name,
               name_level >= {NameLevel.SPELLING_VARIANT} as same_name, name, city, state, zip5,
               address_line_1 as street,
               8 * (uei is not null)::int + 4 * (duns is not null)::int + (address_line_1 is not null)::int
               + (city is not null or zip5 is not null)::int + (state is not null)::int as documentation
        from {weighed}
        """,
    )
    found = [_labels(batch) for batch in _companies(connection, rows)]
    labels = store_table(connection, "organisation_labels", pa.concat_tables([_LABELS.empty_table(), *found]))
    # Only narrow columns: callers fetch the other columns of the winners afterwards.
    grouped = create_table(
        connection,
        "grouped",
        f"""
        select company_id, source_row, recipient_id, uei, duns, match_method, method_rank, match_weight, unseen_share,
               confirmed, rejected, street_match, documentation, alike_name is not null and same_name as is_namesake,
               coalesce(organisation, source_row) as organisation
        from {rows} left join {labels} using (company_id, source_row)
        """,
    )
    for table in (rows, labels):
        connection.execute(f"drop table {table}")
    connection.execute(f"""
        delete from {grouped} using (select distinct company_id, organisation from {grouped} where rejected) r
        where {grouped}.company_id = r.company_id and {grouped}.organisation = r.organisation and not confirmed
    """)
    return grouped


def members_sql(rivals: Table, judged: Table, *, places: int | None = None) -> str:
    """Return a query of the members of the best ``places`` organisations of each company, of all by default.

    ``company_id``, ``organisation``; ``published_row``: source row of the confirmed member, else of the best documented
    one; ``members``: recipient ids in order; ``cluster_id``: ``uei:`` and the UEI, else ``duns:`` and the lowest DUNS,
    else ``recipient:`` and the lowest recipient id. It is the same in every run with the same members, whatever the
    order of the rows and the number of workers; another member changes it only where its identifier comes first.
    """
    chosen = "" if places is None else f" where place <= {places}"
    return f"""
        select company_id, organisation, list(recipient_id order by recipient_id) as members,
               first(source_row order by confirmed desc, {_BY_DOCUMENTATION}) as published_row,
               coalesce('uei:' || min(uei), 'duns:' || min(duns), 'recipient:' || min(recipient_id)) as cluster_id
        from {rivals} semi join (
            select company_id, organisation from {rivals} join {judged} using (company_id, source_row){chosen}
        ) using (company_id, organisation)
        group by all
    """


def _companies(connection: duckdb.DuckDBPyConnection, rows: Table) -> Iterator[pa.Table]:
    """Yield the rows of companies with several candidates, the best documented first, each company in one table."""
    query = f"""
        select * from {rows} where company_id in (select company_id from {rows} group by company_id having count(*) > 1)
        order by company_id, {_BY_DOCUMENTATION}
    """
    pending: list[pa.Table] = []
    for batch in connection.sql(query).to_arrow_reader(_BATCH_ROWS):
        table = pa.Table.from_batches([batch])
        ids = table["company_id"].to_numpy()
        cut = int(np.searchsorted(ids, ids[-1])) if len(ids) else 0
        if pending and (cut or (len(ids) and pending[-1]["company_id"][-1].as_py() != ids[0])):
            yield pa.concat_tables([*pending, table.slice(0, cut)])
            pending = []
            table = table.slice(cut)
        pending.append(table)
    if pending:
        yield pa.concat_tables(pending)


def _labels(rows: pa.Table) -> pa.Table:
    """Return ``company_id``, ``source_row`` and ``organisation`` of the rows of some companies, in the order given."""
    company = rows["company_id"].to_numpy().astype(np.int64)
    weight = rows["match_weight"].to_numpy()
    uei, duns = (_codes(company, as_array(rows[name])) for name in ("uei", "duns"))
    streets = _normal(as_array(rows["street"]), _without_suite)
    street, street_name = _codes(company, streets), _codes(company, _street_names(streets))
    city, state, zip5 = (as_array(rows[name]) for name in ("city", "state", "zip5"))
    town = _codes(company, pc.binary_join_element_wise(pc.fill_null(state, ""), _normal(city, normalise_cities), "|"))
    in_zip = _codes(company, zip5)
    alike = _codes(company, as_array(rows["alike_name"]))
    same = rows["same_name"].to_numpy()
    own = _codes(company, _normal(as_array(rows["name"]), _without_spaces))
    pairs = [
        *(_pairs(_both(name, place)) for name in (alike, own) for place in (town, in_zip)),
        _pairs(duns),
    ]
    later, earlier = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    # Two names that are both one typing error away from the company's are not alike.
    one_own, one_duns = (_equal(codes, later, earlier) for codes in (own, duns))
    one_street = (np.minimum(street_name[later], street_name[earlier]) < 0) | _equal(street_name, later, earlier)
    kept = one_duns | (one_street & (same[later] | same[earlier] | one_own))
    later, earlier, one_duns = later[kept], earlier[kept], one_duns[kept]
    scores = _SAME_TOWN + weight[earlier] + _SAME_DUNS * one_duns + _SAME_STREET * _equal(street, later, earlier)
    order = np.argsort(later, kind="stable")
    starts = np.searchsorted(later[order], np.arange(len(rows) + 1))
    cluster, _ = assign_clusters(starts, earlier[order], np.maximum(scores[order], 1.0), uei, duns, town, 0.0)
    anonymous = (uei < 0) & (duns < 0) & (town < 0) & (in_zip < 0)
    for name in (np.where(same, alike, -1), own):
        _join_best(cluster, anonymous, _both(name, _codes(company, state)), weight)
        _join_best(cluster, anonymous & (_codes(company, state) < 0), name, weight)
    source_row = rows["source_row"].to_numpy()
    return pa.table([rows["company_id"], source_row, source_row[cluster]], schema=_LABELS)


def _join_best(cluster: Ints, anonymous: npt.NDArray[np.bool_], group: Ints, weight: Floats) -> None:
    """Give rows without a town that are alone the cluster of the best other row of their group, in place."""
    lone = anonymous & (group >= 0) & (cluster == np.arange(len(cluster)))
    lone &= np.bincount(cluster, minlength=len(cluster)) == 1
    if not lone.any():
        return
    # The best of a group: a row with a town if there is one, then by weight, then by documentation.
    order = np.lexsort((-weight, lone, group))
    rows = np.flatnonzero(lone)
    first = order[np.searchsorted(group[order], group[rows])]
    joins = lone[first] | (weight[first] >= weight[rows])
    cluster[rows[joins]] = cluster[first[joins]]


def _pairs(group: Ints) -> tuple[Ints, Ints]:
    """Return (later, earlier): each row with the first ``MAX_COMPARED`` rows before it in its group; -1 is none."""
    members = np.flatnonzero(group >= 0)
    order = members[np.argsort(group[members], kind="stable")]
    sorted_groups = group[order]
    begin = np.searchsorted(sorted_groups, sorted_groups)
    counts = np.minimum(np.arange(len(order)) - begin, MAX_COMPARED)
    later = np.repeat(np.arange(len(order)), counts)
    inside = np.arange(len(later)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[later], order[begin[later] + inside]


def _equal(codes: Ints, later: Ints, earlier: Ints) -> npt.NDArray[np.bool_]:
    return np.asarray((codes[later] >= 0) & (codes[later] == codes[earlier]))


def _codes(company: Ints, values: pa.Array) -> Ints:
    """Return a code per company and value, -1 for null."""
    encoded = pc.fill_null(pc.dictionary_encode(values).indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return _both(company, encoded)


def _both(first: Ints, second: Ints) -> Ints:
    """Return a code per pair of codes, -1 where one of them is -1."""
    known = (first >= 0) & (second >= 0)
    codes = np.full(len(first), -1, dtype=np.int64)
    width = int(second.max(initial=0)) + 1
    codes[known] = np.unique(first[known] * width + second[known], return_inverse=True)[1]
    return codes


def _normal(texts: pa.Array, normalise: Any) -> pa.Array:
    """Return the normalised texts; each distinct text is normalised once."""
    encoded = pc.dictionary_encode(texts)
    return normalise(encoded.dictionary).take(encoded.indices)


def _without_suite(lines: pa.Array) -> pa.Array:
    return normalise_streets(lines, pa.nulls(len(lines), pa.string()))


def _street_names(streets: pa.Array) -> pa.Array:
    """Return normalised streets without the house number, null for a PO box."""
    is_box = pc.match_substring_regex(streets, r"^(?:PO )?BOX\b")
    names = pc.replace_substring_regex(streets, r"^[0-9]+[A-Z]? (?:[0-9]+ )?", "")
    return pc.if_else(is_box, pa.scalar(None, pa.string()), names)


def _without_spaces(names: pa.Array) -> pa.Array:
    return pc.replace_substring(normalise_names(names), " ", "")
