"""Companies: awards that share a UEI, a DUNS, or a normalised name and state.

Identifiers that unlike organisations share (``shared_identifiers``) are left out.

A company has all names, identifiers and locations of its awards, so that an old award without identifiers gets those of
a newer one. Equal names (or DUNS) with conflicting UEIs stay separate: such a key joins only awards of one UEI, and
separately those without a UEI. Does not join similar but unequal names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.core.database import connect
from enrich_dist.matching.normalise import normalise_names
from enrich_dist.sources.shared_identifiers import KINDS, find_shared, without_shared

ENGINE_VERSION = "2"  # identifiers that unlike organisations share are left out
SHARED_FILE = "shared_identifiers.parquet"
Codes = npt.NDArray[np.int64]
_NONE = -1


@dataclass(frozen=True)
class CompanyTables:
    """``companies``: schema.COMPANY, sorted by company_id. ``award_companies``: schema.AWARD_COMPANY in the order of
    the awards. ``names_kept_apart``: name-and-state keys of several companies with different UEIs.
    ``shared_identifiers``: schema.SHARED_IDENTIFIER."""

    companies: pa.Table
    award_companies: pa.Table
    names_kept_apart: int
    shared_identifiers: pa.Table


def build_companies(awards: pa.Table, scratch: Path) -> CompanyTables:
    """Join awards (schema.AWARD) into companies. The result does not depend on the order of the rows."""
    shared = find_shared(
        pa.table(
            [awards[name] for name in ("company", *KINDS, "address1", "city")], ["name", *KINDS, "street", "city"]
        ),
        "awards",
    )
    for kind in KINDS:
        awards = awards.set_column(awards.column_names.index(kind), kind, without_shared(awards[kind], shared, kind))
    names = normalise_names(awards["company"])
    states = pc.fill_null(awards["state"], "").combine_chunks()
    name_states = pc.binary_join_element_wise(names, states, "|")  # null if the name is
    ueis, duns, places = _codes(awards["uei"]), _codes(awards["duns"]), _codes(name_states)

    strong = _components(ueis, _refine_conflicting(duns, ueis))
    strong_uei = _label_of_component(strong, ueis)
    refined_places = _refine_conflicting(places, strong_uei)
    companies = _components(strong, refined_places)
    # Names may connect companies of different UEIs through awards without one: undo the name joins of those chains.
    chained = _conflicting(companies, strong_uei)[companies]
    # Odd and even codes keep the two kinds of key distinct.
    refined_places = np.where(chained, 2 * _pair_codes(places, strong_uei) + 1, 2 * refined_places)
    refined_places = np.where(places == _NONE, _NONE, refined_places)
    companies = _components(strong, refined_places)

    apart = np.unique(places[(_conflicting(places, strong_uei)[places]) & (places != _NONE)]).size
    tables = _aggregate(awards, names, states, companies, scratch)
    return CompanyTables(*tables, names_kept_apart=int(apart), shared_identifiers=shared)


def _codes(values: pa.ChunkedArray | pa.Array) -> Codes:
    """Return an integer code per distinct text; -1 for null."""
    encoded = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    indices = encoded.dictionary_encode().indices
    return np.asarray(pc.fill_null(indices, _NONE), dtype=np.int64)


def _pair_codes(first: Codes, second: Codes) -> Codes:
    return np.asarray(first * (int(second.max(initial=_NONE)) + 2) + second + 1)


def _conflicting(keys: Codes, labels: Codes) -> npt.NDArray[np.bool_]:
    """Return, per key code (the last entry is for -1), whether its rows have more than one label (-1 is none)."""
    known = (keys != _NONE) & (labels != _NONE)
    pairs = np.unique(_pair_codes(keys[known], labels[known]), return_index=True)[1]
    counts = np.bincount(keys[known][pairs], minlength=int(keys.max(initial=_NONE)) + 2)
    return np.append(counts[:-1] > 1, False)


def _refine_conflicting(keys: Codes, labels: Codes) -> Codes:
    """Split every key with more than one label into one key per (key, label); -1 stays -1."""
    conflicting = _conflicting(keys, labels)[keys]
    label = np.where(conflicting, labels, _NONE)
    return np.where(keys == _NONE, _NONE, _pair_codes(keys, label)).astype(np.int64)


def _components(*keys: Codes) -> Codes:
    """Return the component of each row, where rows that share a key of any kind are connected."""
    from scipy.sparse import coo_matrix  # a finished run need not import it
    from scipy.sparse.csgraph import connected_components

    rows = keys[0].size
    sources, targets, nodes = [], [], rows
    for key in keys:
        known = np.flatnonzero(key != _NONE)
        distinct, inverse = np.unique(key[known], return_inverse=True)
        sources.append(known)
        targets.append(nodes + inverse)
        nodes += distinct.size
    source, target = np.concatenate(sources), np.concatenate(targets)
    graph = coo_matrix((np.ones(source.size, dtype=np.int8), (source, target)), shape=(nodes, nodes))
    labels = connected_components(graph, directed=False)[1][:rows]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _label_of_component(components: Codes, labels: Codes) -> Codes:
    """Return, per row, the greatest label of its component; -1 for none."""
    best = np.full(int(components.max(initial=_NONE)) + 1, _NONE, dtype=np.int64)
    np.maximum.at(best, components, labels)
    return best[components]


_AGGREGATE = """
with keyed as (
    select component,
           coalesce('uei:' || min(uei), 'duns:' || min(duns), 'name:' || min(name_key || '|' || state_key),
                    'award:' || min(award_id)) as company_key
    from awards group by component
), numbered as (
    select component, company_key, (row_number() over (order by company_key) - 1)::integer as company_id from keyed
), named as (
    select component, list(company order by n desc, company) as names
    from (select component, company, count(*) as n from awards where company is not null group by all)
    group by component
), located as (
    select component, list({'address': address, 'city': city, 'state': state, 'zip5': zip5}
                           order by address nulls last, city nulls last, state nulls last, zip5 nulls last) as locations
    from (select distinct component, address, city, state, zip5 from awards
          where coalesce(address, city, state, zip5) is not null)
    group by component
), identified as (
    select component, count(*)::integer as award_count,
           coalesce(list_sort(list(distinct uei) filter (uei is not null)), []) as ueis,
           coalesce(list_sort(list(distinct duns) filter (duns is not null)), []) as duns
    from awards group by component
)
select company_id, company_key, names[1] as name, coalesce(names, []) as names, ueis, duns,
       coalesce(locations, []) as locations, award_count, component
from numbered join identified using (component) left join named using (component) left join located using (component)
order by company_id
"""


def _aggregate(
    awards: pa.Table, names: pa.Array, states: pa.Array, components: Codes, scratch: Path
) -> tuple[pa.Table, pa.Table]:
    both = pc.binary_join_element_wise(awards["address1"], awards["address2"], ", ")  # null if either is
    address = pc.coalesce(both, awards["address1"], awards["address2"])
    columns = {name: awards[name] for name in ("award_id", "company", "uei", "duns", "city", "state", "zip5")}
    columns |= {"address": address, "name_key": names, "state_key": states, "component": pa.array(components)}
    with connect(scratch=scratch) as connection:
        connection.register("awards", pa.table(columns))
        aggregated: pa.Table = connection.sql(_AGGREGATE).to_arrow_table()
    company_of_component = np.empty(len(aggregated), dtype=np.int32)
    company_of_component[aggregated["component"].to_numpy()] = aggregated["company_id"].to_numpy()
    companies = aggregated.drop_columns(["component"]).cast(schema.COMPANY)
    award_companies = pa.table(
        {"award_id": awards["award_id"], "company_id": pa.array(company_of_component[components])},
        schema=schema.AWARD_COMPANY,
    )
    return companies, award_companies
