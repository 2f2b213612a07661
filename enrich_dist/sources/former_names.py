"""Give recipients their further names from a table of names over time (``name_history``).

Names are joined by UEI, or by DUNS number where the table has no UEI. A name that is equal to one that the recipient
has, after normalisation, adds nothing. Each recipient gets its names independently of the others in the batch.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.matching.arrays import as_array
from enrich_dist.matching.normalise import normalise_names
from enrich_dist.schema import NameKind
from enrich_dist.sources.name_history import NameTable
from enrich_dist.sources.name_records import DBA, PARENT
from enrich_dist.sources.recipients import RecipientBatch

_COLUMNS = 'w.row, h.name, h.kind, h.first_seen, h.last_seen, h."rows"'
_FOUND = f"""
    select {_COLUMNS} from wanted w join history h on h.uei = w.uei where h.name is distinct from w.name
    union all
    select {_COLUMNS} from wanted w join history h on h.uei is null and h.duns = w.duns
    where h.name is distinct from w.name
"""
# Spellings of one name are merged; of several kinds, the strongest evidence counts.
_FURTHER = f"""
    with further as (
        select f.row, f.key, f.name, f."rows", f.first_seen, f.last_seen,
               case f.kind when '{DBA}' then {NameKind.ALTERNATE} when '{PARENT}' then {NameKind.PARENT}
                           else {NameKind.FORMER} end as kind
        from found f where f.key is not null and not exists (
            select 1 from own where own.row = f.row and own.key = f.key and (not own.of_parent or f.kind = '{PARENT}'))
    )
    select row, arg_max(name, ("rows", name)) as name, min(kind)::tinyint as kind,
           min(first_seen) as first_seen, max(last_seen) as last_seen
    from further group by row, key order by row, kind, first_seen nulls last, name
"""


def add_names(
    batches: Generator[RecipientBatch, None, None], names: NameTable | None
) -> Generator[RecipientBatch, None, None]:
    """Yield the batches with ``name_history`` filled, and count the recipients that got names. Without ``names``,
    yield them as they are."""
    with closing(batches):
        if names is None:
            yield from batches
            return
        for batch in batches:
            recipients = _with_names(batch.recipients, names.connection)
            names.recipients += len(recipients) - recipients["name_history"].null_count
            yield batch._replace(recipients=recipients)


def _with_names(recipients: pa.Table, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    numbers = pa.array(np.arange(len(recipients), dtype=np.int64))
    columns = ("uei", "duns", "name")
    connection.register("wanted", pa.table([numbers, *(recipients[name] for name in columns)], ["row", *columns]))
    found = connection.sql(_FOUND).to_arrow_table()
    if not len(found):
        return recipients
    holders = pc.unique(found["row"])
    connection.register("found", found.append_column("key", normalise_names(found["name"])))
    connection.register("own", _own_names(recipients.take(holders), holders))
    further = connection.sql(_FURTHER).to_arrow_table().combine_chunks()
    counts = np.bincount(further["row"].to_numpy(), minlength=len(recipients))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    parts = [as_array(further[item.name]).cast(item.type) for item in schema.DATED_NAME]
    dated = pa.StructArray.from_arrays(parts, fields=list(schema.DATED_NAME))
    lists = pa.ListArray.from_arrays(pa.array(offsets), dated)
    lists = pc.if_else(pa.array(counts > 0), lists, pa.scalar(None, lists.type))
    position = recipients.column_names.index("name_history")
    return recipients.set_column(position, schema.RECIPIENT.field("name_history"), lists)


def _own_names(recipients: pa.Table, rows: pa.Array) -> pa.Table:
    """Return the normalised names that the recipients have: row, key, and whether it is that of the parent."""
    alternates = recipients["alternate_names"].combine_chunks()
    texts = (recipients["name"], pc.list_flatten(alternates), recipients["parent_name"])
    owners = (rows, rows.take(pc.list_parent_indices(alternates)), rows)
    parts = [
        pa.table({"row": owner, "key": normalise_names(names), "of_parent": pa.repeat(of_parent, len(owner))})
        for owner, names, of_parent in zip(owners, texts, (False, False, True), strict=True)
    ]
    return pa.concat_tables(parts)
