"""Find the companies and recipients of a result that labels name.

A company is found by its id, key, award or name. Where several companies have the name, the one whose place agrees best
is taken; no other guess is made. What cannot be found is a problem with its row, never dropped in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from enrich_dist.core.database import parquet_sql
from enrich_dist.errors import SettingsError
from enrich_dist.evaluation.labels import LEFT
from enrich_dist.evaluation.subjects import Subject
from enrich_dist.matching.normalise import normalise_names
from enrich_dist.results.candidate_tables import MAX_OPEN_FILES
from enrich_dist.results.tables import Table, create_table, store_table

NOT_FINDABLE_KINDS: Final = ("unrelated", "renamed")
"""Kinds of labels whose two names have nothing in common."""

NO_LEFT, UNKNOWN_LEFT, AMBIGUOUS_LEFT = "names no company", "no such company", "several companies have this name"
UNKNOWN_RIGHT, CONTRADICTION = "no such recipient", "another row says otherwise of the same company of the result"


@dataclass(frozen=True)
class Resolved:
    """Labels as companies of a result.

    ``labelled``: a row per company with ``company_id``, ``first_row`` (of its labels), ``kind``, ``segment`` (null
    without), ``partner``, ``findable``, the acceptable recipients as lists ``ids`` and ``ueis``, and ``right_name`` and
    ``right_place`` of the first of them (null where the recipients are not known). ``problems``:
    ``row``, ``column``, ``value`` and what is wrong with it (``NO_LEFT`` …). ``rows``: labels read.
    """

    labelled: Table
    problems: pa.Table
    rows: int


def resolve_labels(subject: Subject, labels: pa.Table) -> Resolved:
    """Find the companies and recipients of ``labels`` (``labels.read_labels``).

    Raises ``SettingsError`` where no label can name a company or a recipient of the result.
    """
    _require_usable(subject, labels)
    connection = subject.connection
    given = store_table(connection, "labels", labels)
    found = create_table(connection, "found", _found_sql(subject, given, labels))
    known = _known_rights(subject, given)
    findable = f"coalesce(findable, coalesce(lower(kind), '') not in {NOT_FINDABLE_KINDS})"
    joined = create_table(
        connection,
        "joined",
        f"""
        select l.*, f.lefts, f.company_id, right_id is null and right_uei is null as without,
               coalesce(i.value is not null or u.value is not null, false) as known,
               coalesce(i.name, u.name) as right_name, coalesce(i.place, u.place) as right_place
        from {given} l left join {found} f using (row)
        left join {known} i on i.kind = 'id' and i.value = right_id
        left join {known} u on u.kind = 'uei' and u.value = right_uei
        """,
    )
    columns = LEFT if subject.has_left_ids else (*LEFT[1:], LEFT[0])
    named = ", ".join(columns)
    which = " ".join(f"when {name} is not null then '{name}'" for name in columns)
    # A company of the result can have labels of several companies that the result joined.
    contradicted = f"""
        select company_id from {joined} where lefts = 1 and (without or known)
        group by company_id having count(distinct without) > 1
    """
    problems = connection.sql(f"""
        with left_value as (
            select *, coalesce({named}) as left_value,
                   case {which} end as left_column
            from {joined}
        )
        select row, left_column as "column", left_value as value,
               case when left_value is null then '{NO_LEFT}' when coalesce(lefts, 0) = 0 then '{UNKNOWN_LEFT}'
                    when lefts > 1 then '{AMBIGUOUS_LEFT}' else '{CONTRADICTION}' end as problem
        from left_value where coalesce(lefts, 0) <> 1 or company_id in ({contradicted})
        union all
        select row, case when right_id is null then 'right_uei' else 'right_id' end, coalesce(right_id, right_uei),
               '{UNKNOWN_RIGHT}'
        from left_value where lefts = 1 and not without and not known
        order by row, "column"
    """).to_arrow_table()
    labelled = create_table(
        connection,
        "labelled",
        f"""
        select company_id, min(row) as first_row, arg_min(kind, row) as kind, arg_min(segment, row) as segment,
               not bool_or(without) as partner, partner and arg_min({findable}, row) as findable,
               arg_min(right_name, row) as right_name, arg_min(right_place, row) as right_place,
               coalesce(list(distinct right_id) filter (right_id is not null), []) as ids,
               coalesce(list(distinct right_uei) filter (right_uei is not null), []) as ueis
        from {joined}
        where lefts = 1 and (without or known) and company_id not in ({contradicted})
        group by company_id
        """,
    )
    return Resolved(labelled, problems, len(labels))


def _found_sql(subject: Subject, given: Table, labels: pa.Table) -> str:
    """Return the query of the companies that each row names: ``row``, ``company_id``, ``lefts`` (their number)."""
    own_key = "left_id" if subject.has_left_ids else "company_key"
    same = "c.company_key = l.left_id" if subject.has_left_ids else "lower(c.company_key) = lower(l.company_key)"
    parts = [f"select row, company_id from {given} l join {subject.companies} c on {same}"]
    before = f"l.{own_key} is null"
    if subject.awards is not None:
        parts.append(f"""
            select row, c.company_id from (select * from {given} l where {before} and award is not null) l
            join (select unnest([award_id, lower(agency_tracking_number), lower(contract)]) as number, company_key
                  from {subject.awards}) a on a.number = lower(l.award)
            join {subject.companies} c on c.company_key = a.company_key
        """)
        before += " and l.award is null"
    if labels["company"].null_count < len(labels):
        names = _named_companies(subject)
        spelled = pa.table({"row": labels["row"], "name": normalise_names(labels["company"])})
        wanted = store_table(subject.connection, "wanted_names", spelled)
        parts.append(f"""
            select row, company_id from (
                select l.row, c.company_id, coalesce(list_max(list_transform(c.locations, lambda p:
                    (case when upper(p.state) = upper(l.state) then 4 else 0 end)
                    + (case when upper(p.city) = upper(l.city) then 2 else 0 end)
                    + (case when p.zip5 = left(l.zip, 5) then 1 else 0 end))), 0) as agreement
                from {given} l join {wanted} w using (row) join {names} n using (name)
                join {subject.companies} c using (company_id)
                where {before}
            ) qualify agreement = max(agreement) over (partition by row)
        """)
    return f"""
        select row, min(company_id) as company_id, count(distinct company_id) as lefts
        from ({" union all ".join(parts)}) group by row
    """


def _named_companies(subject: Subject) -> Table:
    """Return ``company_id`` and ``name`` (normalised) of all names of all companies."""
    rows = subject.connection.sql(f"""
        select distinct company_id, unnest(list_append(coalesce(names, []), name)) as name from {subject.companies}
    """).to_arrow_table()
    spelled = pa.table({"company_id": rows["company_id"], "name": normalise_names(rows["name"])})
    stored = store_table(subject.connection, "spelled_names", spelled)
    return create_table(subject.connection, "names", f"select distinct * from {stored} where name is not null")


def _known_rights(subject: Subject, given: Table) -> Table:
    """Return the ``value`` of labels that a recipient has, by ``kind`` (id, uei), with its ``name`` and ``place``.

    All values without names, where the recipients are not known.
    """
    connection = subject.connection
    wanted = create_table(
        connection,
        "wanted_rights",
        f"""
        select distinct * from (select 'id' as kind, right_id as value from {given}
                                union all select 'uei', right_uei from {given}) where value is not null
        """,
    )
    if not subject.recipients:
        return create_table(connection, "known_rights", f"select *, null::varchar as name, null as place from {wanted}")
    parts = [
        connection.sql(f"""
            select kind, value, r.name, nullif(concat_ws(', ', r.city, r.state), '') as place, r.source_row
            from {parquet_sql(*subject.recipients[start : start + MAX_OPEN_FILES])} r
            join {wanted} on kind = '{kind}' and value = {column}
        """).to_arrow_table()
        for start in range(0, len(subject.recipients), MAX_OPEN_FILES)
        for kind, column in (("id", "recipient_id"), ("uei", "uei"))
    ]
    return create_table(
        connection,
        "known_rights",
        f"""
        select kind, value, arg_min(name, source_row) as name, arg_min(place, source_row) as place
        from {store_table(connection, "rights", pa.concat_tables(parts))} group by kind, value
        """,
    )


def _require_usable(subject: Subject, labels: pa.Table) -> None:
    """Raise ``SettingsError`` where no label can name a company or a recipient of the result."""

    def given(*names: str) -> bool:
        return any(labels[name].null_count < len(labels) for name in names)

    key, other = ("left_id", "company_key") if subject.has_left_ids else ("company_key", "left_id")
    usable = (key, "company") if subject.awards is None else (key, "award", "company")
    if not given(*usable):
        raise SettingsError(
            f"The labels name no company by {' or '.join(usable)}, as {subject.title} needs.",
            remedy=f"Add one of these columns, or name it: --column {usable[0]}=HEADER. ({other} is not used here.)",
        )
    if not subject.has_ueis and given("right_uei") and not given("right_id"):
        raise SettingsError(
            f"The labels name recipients by UEI only, which {subject.title} does not have.",
            remedy="Add their ids as right_id, or evaluate the tables with --left and --right.",
        )
