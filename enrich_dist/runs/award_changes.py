"""Awards that gained, lost or changed their match between two results.

Awards are joined on ``award_id``, the digest of the row. A new version of the source may change a row, so the remaining
awards are joined on agency, phase and year with contract and tracking number, and then with company and title, where
these are unique on both sides. Awards in only one result are counted separately.

Covers the comparison and its table. Does not cover which results to compare (``journal``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from enrich_dist.core.database import connect, read_parquet
from enrich_dist.core.owned_files import require_replaceable
from enrich_dist.core.table_files import require_format, write_table
from enrich_dist.sources.formats import has_columns

CHANGES: Final = ("gained", "lost", "changed")
"""Of awards in both results: an accepted match now and none before, the reverse, and another recipient."""
UNCHANGED: Final = ("kept", "open")
"""Of awards in both: the same recipient, and no accepted match before or now."""
ONE_SIDED: Final = ("only in the older", "only in the newer")
KINDS: Final = (*CHANGES, *UNCHANGED, *ONE_SIDED)

_COLUMNS = (
    "award_id, company, award_title, agency, phase, award_year, contract, agency_tracking_number, company_key, "
    "match_status, match_method, match_probability, recipient_id, recipient_name, recipient_uei, recipient_city, "
    "recipient_state"
)
# Join keys, tried in order on the awards that are left; null where a row has no such key.
_JOIN_KEYS: Final = (
    ("award_id", "award_id"),
    (
        "contract",
        "case when coalesce(contract, agency_tracking_number) is not null then md5(concat_ws(chr(31), "
        "coalesce(agency, ''), coalesce(phase, ''), coalesce(award_year, 0), coalesce(contract, ''), "
        "coalesce(agency_tracking_number, ''))) end",
    ),
    (
        "title",
        "case when company is not null and award_title is not null then md5(concat_ws(chr(31), lower(company), "
        "award_title, coalesce(agency, ''), coalesce(phase, ''), coalesce(award_year, 0))) end",
    ),
)
# Rows with the same UEI are one organisation; without UEIs, name and place decide.
_SAME_RECIPIENT = """(
    old.recipient_id = new.recipient_id or old.recipient_uei = new.recipient_uei
    or (old.recipient_uei is null and new.recipient_uei is null and old.recipient_name = new.recipient_name
        and old.recipient_city is not distinct from new.recipient_city
        and old.recipient_state is not distinct from new.recipient_state)
)"""


@dataclass(frozen=True)
class AwardChanges:
    """The awards of two results by kind of change.

    ``counts``: awards by kind (``KINDS``); ``by_method``: awards by (kind of ``CHANGES``, method), for a lost match the
    earlier method; ``moves``: awards in both by (status before, status now); ``found_by``: awards in both by join key;
    ``examples``: some companies of each kind of ``CHANGES``: one award with the columns of ``table``, and ``awards``,
    the number of awards with the same change.
    """

    counts: dict[str, int]
    by_method: dict[tuple[str, str], int]
    moves: dict[tuple[str, str], int]
    found_by: dict[str, int]
    examples: tuple[dict[str, Any], ...]

    @property
    def common(self) -> int:
        """Awards that are in both results."""
        return sum(self.counts[kind] for kind in (*CHANGES, *UNCHANGED))


def compare_awards(older: Path, newer: Path, *, scratch: Path, examples: int, table: Path | None) -> AwardChanges:
    """Compare two files of enriched awards.

    Write one row per award of ``CHANGES`` and ``ONE_SIDED``, with old and new values, to ``table`` (see
    ``table_files``). Raises ``SettingsError`` for another ending.
    """
    if table is not None:
        require_format(table, "--awards")
        is_ours = has_columns("change", "award_id", "found_by")
        require_replaceable(table, option="--awards", is_ours=is_ours, inputs=(older, newer))
    with _compared(older, newer, scratch) as connection:
        counts = dict.fromkeys(KINDS, 0) | dict(_rows(connection, "select change, count(*) from compared group by all"))
        by_method = _rows(
            connection,
            f"""
            select change, coalesce(case when change = 'lost' then old_method else new_method end, ''), count(*)
            from compared where change in {CHANGES} group by all order by all
            """,
        )
        moves = _rows(
            connection,
            """
            select old_status, new_status, count(*) from compared
            where old_status is not null and new_status is not null group by all order by all
            """,
        )
        found_by = _rows(
            connection, "select found_by, count(*) from compared where found_by is not null group by all order by all"
        )
        if table is not None:
            _write(connection, table)
        shown = connection.sql(
            f"""
            with one_each as (
                select *, count(*) over (partition by {_ALIKE}) as awards from compared where change in {CHANGES}
                qualify row_number() over (partition by {_ALIKE} order by award_id) = 1
            )
            select * from one_each
            qualify row_number() over (partition by change order by {_ORDER}) <= {examples:d}
            order by list_position({list(CHANGES)}, change), {_ORDER}
            """
        ).to_arrow_table()
    return AwardChanges(
        counts=counts,
        by_method={(change, method): count for change, method, count in by_method},
        moves={(before, now): count for before, now, count in moves},
        found_by=dict(found_by),
        examples=tuple(shown.to_pylist()),
    )


_ALIKE = "change, company_key, old_recipient_id, new_recipient_id"
_ORDER = "awards desc, award_id"


@contextmanager
def _compared(older: Path, newer: Path, scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with table ``compared``: a row per award of either result, with its ``change``."""
    with connect(scratch=scratch) as connection:
        for name, path in (("older", older), ("newer", newer)):
            read_parquet(connection, [path]).create_view(f"{name}_file")
            connection.execute(f"create temp table {name} as select {_COLUMNS} from {name}_file")
        connection.execute("create temp table pairs (old_id varchar, new_id varchar, found_by varchar)")
        for found_by, name in _JOIN_KEYS:
            connection.execute(
                f"""
                insert into pairs
                with o as (
                    select {name} as name, min(award_id) as old_id from older
                    where name is not null and award_id not in (select old_id from pairs)
                    group by name having count(*) = 1
                ), n as (
                    select {name} as name, min(award_id) as new_id from newer
                    where name is not null and award_id not in (select new_id from pairs)
                    group by name having count(*) = 1
                )
                select old_id, new_id, $found_by from o join n using (name)
                """,
                {"found_by": found_by},
            )
        connection.execute(
            f"""
            create temp table compared as
            with both_sides as (
                select coalesce(new_id, old_id) as award_id, found_by, old_id, new_id from (
                    select * from pairs
                    union all
                    select award_id, null, null from older anti join pairs on award_id = old_id
                    union all
                    select null, award_id, null from newer anti join pairs on award_id = new_id
                )
            )
            select case when new_id is null then '{ONE_SIDED[0]}'
                        when old_id is null then '{ONE_SIDED[1]}'
                        when old.match_status = 'matched' and new.match_status = 'matched'
                            then case when {_SAME_RECIPIENT} then 'kept' else 'changed' end
                        when new.match_status = 'matched' then 'gained'
                        when old.match_status = 'matched' then 'lost'
                        else 'open' end as change,
                   both_sides.award_id, found_by,
                   coalesce(new.company, old.company) as company,
                   coalesce(new.award_title, old.award_title) as award_title,
                   coalesce(new.agency, old.agency) as agency,
                   coalesce(new.award_year, old.award_year) as award_year,
                   coalesce(new.company_key, old.company_key) as company_key,
                   {_side("old")}, {_side("new")}
            from both_sides
            left join older as old on old.award_id = old_id
            left join newer as new on new.award_id = new_id
            """
        )
        yield connection


def _side(name: str) -> str:
    columns = ("match_status", "match_method", "match_probability", "recipient_id", "recipient_name", "recipient_uei")
    return ", ".join(f"{name}.{column} as {name}_{column.removeprefix('match_')}" for column in columns)


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def _write(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    rows = connection.sql(
        f"""
        select * from compared where change not in {UNCHANGED}
        order by list_position({list(KINDS)}, change), award_id
        """
    )
    write_table(rows.to_arrow_table(), path)
