"""The acceptable recipients of each generated company, and whether name and place identify its partner.

``recipient_hash`` is the recipient from which the company was generated. ``acceptable`` also contains other
registrations of the same organisation: those with its UEI, and those with its name and town that have it, or its
parent, as parent.

``findable`` is true if the company has a partner, its name was not replaced, and name and place identify that
organisation: no other recipient with a name loosely equal to the partner's or the company's agrees with the company in
as many of state, city and ZIP code as the partner. If the partner has no place, no other recipient may have such a
name. Loosely equal means equal letters and digits without legal forms, by a rule that is independent of the matcher.
Similar names are not rivals, and the street does not decide within a ZIP code, so a perfect matcher could find more.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.core import database as duck
from enrich_dist.core.files import atomic_path

MEMORY_MB: Final = 1_500

TRUTH: Final = pa.schema(
    [
        pa.field("company", pa.string()),
        pa.field("agency_tracking_numbers", pa.list_(pa.string())),
        pa.field("recipient_hash", pa.string()),
        pa.field("acceptable", pa.list_(pa.string())),
        pa.field("kind", pa.string()),
        pa.field("decoy", pa.string()),
        pa.field("findable", pa.bool_()),
    ]
)

_LEGAL: Final = (
    "LLC|L L C|INC|INCORPORATED|CORP|CORPORATION|CO|COMPANY|LTD|LIMITED|LP|L P|LLP|L L P|PLLC|PC|P C"
    "|LIMITED LIABILITY COMPANY|THE"
)
# plain: letters, digits and single spaces; core: without THE and legal forms; loose: without spaces.
_LOOSE: Final = f"""
create macro plain(name) as
    trim(regexp_replace(replace(replace(upper(name), '&', ' AND '), '''', ''), '[^A-Z0-9]+', ' ', 'g'));
create macro core(text) as regexp_replace(text, '^THE |( (AND )?({_LEGAL}))+$', '', 'g');
create macro loose(name) as replace(if(core(plain(name)) = '', plain(name), core(plain(name))), ' ', '');
"""

_RELATED: Final = """
create temp table wanted as
    select company, name, city, state, zip5, partner_recipient_hash as hash, partner_uei as uei,
        partner_parent_uei as parent, loose(partner_legal_business_name) as partner_loose, loose(name) as own_loose
    from companies where partner_recipient_hash is not null;
create temp table names as
    select partner_loose as loose from wanted union select own_loose from wanted;
create temp table related as
    with r as (
        select recipient_hash as hash, loose(legal_business_name) as loose, uei, parent_uei as parent, city, state, zip5
        from read_parquet($recipients)
    )
    select r.* from r
    where loose in (select loose from names) or uei in (select uei from wanted where uei is not null);
"""

# A rival may be in the place to which a company moved, so the company's place is compared, not the partner's.
_PAIRS: Final = """
create temp table pairs as
    with candidates as (
        select w.company, r.hash from wanted w join related r on r.loose = w.partner_loose
        union select w.company, r.hash from wanted w join related r on r.loose = w.own_loose
        union select w.company, r.hash from wanted w join related r on r.uei = w.uei
    )
    select c.company, c.hash,
        c.hash = w.hash or (r.uei = w.uei) is true or (
            r.loose = w.partner_loose
            and (r.parent = w.parent or r.parent = w.uei or r.uei = w.parent) is true
            and coalesce(r.state = p.state and r.city = p.city, p.city is null or r.city is null)
        ) as accepted,
        coalesce(r.state = w.state, false)::int + coalesce(r.state = w.state and r.city = w.city, false)::int
            + coalesce(r.zip5 = w.zip5, false)::int as agreement
    from candidates c join wanted w on w.company = c.company join related r on r.hash = c.hash
    join related p on p.hash = w.hash;
"""

_RESULT: Final = """
    select company, agency_tracking_numbers, partner_recipient_hash as recipient_hash,
        coalesce(accepted, []) as acceptable, kind, decoy,
        evidence and coalesce(own > rival or rival is null, false) as findable
    from companies left join (
        select company, list(hash order by hash) filter (where accepted) as accepted,
            max(agreement) filter (where accepted) as own, max(agreement) filter (where not accepted) as rival
        from pairs group by company
    ) using (company)
    order by company
"""


def write_truth(path: Path, companies: pa.Table, recipients: Path) -> None:
    """Write a row of ``TRUTH`` per row of ``companies`` (of ``make_companies``), ordered by company."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        duck.connect(memory_mb=MEMORY_MB, scratch=Path(scratch)) as connection,
        atomic_path(path) as temporary,
    ):
        connection.register("companies", companies)
        connection.execute(_LOOSE)
        for statement in _RELATED.split(";"):
            if statement.strip():
                connection.execute(statement, {"recipients": str(recipients)} if "$recipients" in statement else None)
        connection.execute(_PAIRS)
        result = connection.sql(_RESULT).to_arrow_table().cast(TRUTH)
        pq.write_table(result, temporary, compression="zstd")
