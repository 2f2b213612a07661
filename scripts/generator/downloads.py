"""An award download for a generated case, in the columns of USAspending: current names beside the names on awards.

It has an award for some recipients with a UEI: among them partners whose company has another name, and recipients that
were renamed without any company. The truth is not used by the matcher: the download names no company.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from enrich_dist.core.files import atomic_path
from scripts.generator import shares
from scripts.generator.draws import Keys, below, chance, column, flags, keys_of, mix, number_texts, picked, where
from scripts.generator.errors import respell_legal
from scripts.generator.recipients import Models

_YEARS: Final = (2008, 2025)
# The name on the award that the case has for a recipient: of a company whose partner has another name now.
_RECIPIENTS: Final = """
    select r.legal_business_name as name, r.uei, r.parent_uei, r.address_line_1, r.city, r.state, r.zip5,
           min(o.name) as company_name
    from read_parquet($recipients) r
    left join (select recipient_hash, company from read_parquet($truth) where split_part(kind, '+', 1) = 'renamed') t
        using (recipient_hash)
    left join read_parquet($organisations) o on o.id = t.company
    where r.uei is not null group by all order by r.uei, r.legal_business_name, r.address_line_1
"""


def write_award_download(directory: Path, *, seed: int) -> Path:
    """Write ``download.csv`` into the directory of a case (``measuring.generate_case``) and return its path."""
    files = {name: str(directory / f"{name}.parquet") for name in ("recipients", "truth", "organisations")}
    with duckdb.connect() as connection:
        recipients: pa.Table = connection.sql(_RECIPIENTS, params=files).to_arrow_table()
    keys = keys_of(np.arange(len(recipients)), seed, "award download")
    company = column(recipients, "company_name")
    # Some partners have no UEI, so more of the others are recorded.
    recorded = flags(pc.is_valid(company)) & chance(keys, "recorded", shares.RENAME_RECORDED_SHARE / shares.UEI_SHARE)
    others = ~flags(pc.is_valid(company)) & chance(keys, "has award", shares.DOWNLOAD_SHARE)
    kept = recorded | others
    recipients, keys, company = recipients.filter(pa.array(kept)), keys[kept], company.filter(pa.array(kept))
    recorded, others = recorded[kept], others[kept]
    names = column(recipients, "name")
    renamed = others & chance(keys, "renamed", shares.RENAMED_SHARE)
    before = where(renamed, Models.of(directory / "recipients.parquet").names.coin(mix(keys, "before")), names)
    before = where(recorded, company, before)
    sold = renamed & chance(keys, "sold", shares.SOLD_NAME_SHARE)
    if recorded.any():
        before = where(sold, picked(keys, "sold name", company.filter(pa.array(recorded))), before)
    before = where(chance(keys, "style", shares.LEGAL_SHARE), respell_legal(keys, before), before)
    return _write(directory / "download.csv", recipients, names, before, keys)


def _write(path: Path, recipients: pa.Table, names: pa.Array, before: pa.Array, keys: Keys) -> Path:
    own = pc.is_null(recipients["parent_uei"])
    numbers = number_texts(np.arange(len(names)))
    table = pa.table(
        {
            "contract_transaction_unique_key": pc.binary_join_element_wise("K", numbers, ""),
            "action_date": _dates(keys),
            "recipient_uei": recipients["uei"],
            "recipient_duns": pa.nulls(len(names), pa.string()),
            "recipient_name": names,
            "recipient_name_raw": before,
            "recipient_parent_uei": pc.coalesce(recipients["parent_uei"], recipients["uei"]),
            "recipient_parent_name": pc.if_else(own, names, pa.scalar(None, pa.string())),
            "recipient_parent_name_raw": pc.if_else(own, before, pa.scalar(None, pa.string())),
            "recipient_address_line_1": recipients["address_line_1"],
            "recipient_city_name": recipients["city"],
            "recipient_state_code": recipients["state"],
            "recipient_zip_code": recipients["zip5"],
        }
    )
    with atomic_path(path) as temporary:
        pa_csv.write_csv(table, temporary)
    return path


def _dates(keys: Keys) -> pa.Array:
    year = below(keys, "year", _YEARS[1] - _YEARS[0]) + _YEARS[0]
    parts = [number_texts(year)]
    for unit, count in (("month", 12), ("day", 28)):
        parts.append(pc.utf8_lpad(number_texts(below(keys, unit, count) + 1), width=2, padding="0"))
    return pc.binary_join_element_wise(*parts, "-")
