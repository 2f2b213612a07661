"""Awards of generated companies: the CSV of SBIR.gov, the truth, and the companies as a table.

Memory grows with the number of companies, not with the recipients. Those are read three times: for their countries, for
the rows that become companies, and for the truth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from enrich_dist.core.files import atomic_path
from scripts.generator import shares
from scripts.generator.companies import PLACE, make_companies, partner_rows, second_versions
from scripts.generator.draws import (
    Flags,
    Ints,
    Keys,
    below,
    chance,
    column,
    flags,
    keys_of,
    number_texts,
    weighted,
    where,
)
from scripts.generator.recipients import Models
from scripts.generator.truth import write_truth

_BATCH_ROWS: Final = 50_000
_MAX_AWARDS: Final = 4
_YEARS: Final = (2005, 2025)
_AGENCIES: Final = (
    ("Department of Defense", "Air Force", 0.30),
    ("Department of Defense", "Navy", 0.25),
    ("Department of Defense", "Army", 0.20),
    ("National Science Foundation", "", 0.08),
    ("Department of Energy", "", 0.08),
    ("Department of Health and Human Services", "National Institutes of Health", 0.06),
    ("National Aeronautics and Space Administration", "", 0.03),
)


def write_awards(
    path: Path,
    *,
    companies: int,
    recipients: Path,
    seed: int,
    truth: Path | None = None,
    organisations: Path | None = None,
) -> None:
    """Write one to four awards for each of ``companies`` companies, in the newer header generation of sbir.gov.

    ``recipients``: a file of ``write_recipients`` with at least as many rows as companies. ``truth``: output file of
    the acceptable recipients of each company (see ``truth``). ``organisations``: output file of the companies.
    Raises ``ValueError`` if either number is too small.
    """
    available = pq.read_metadata(recipients).num_rows
    if not 1 <= companies <= available:
        raise ValueError(f"companies must be 1 to {available}, the number of recipients")
    taken = _take_rows(recipients, partner_rows(_foreign(recipients), companies, seed))
    # New names are coined from the words of the recipients, so that they resemble them as real ones do.
    models = Models.of(recipients)
    partners = round(companies * shares.PARTNER_SHARE)
    company = make_companies(taken, partners, seed, models, recipients=available)
    # The order of the file must not reveal which companies have a partner.
    company = company.take(pa.array(np.argsort(keys_of(np.arange(companies), seed, "order"), kind="stable")))
    company = company.set_column(company.column_names.index("company"), "company", _sorted(company["company"]))
    keys = keys_of(np.arange(companies), seed, "awards of company")
    owner = np.repeat(np.arange(companies), below(keys, "awards", _MAX_AWARDS) + 1)
    first = np.concatenate([[True], owner[1:] != owner[:-1]])
    shuffled = np.argsort(keys_of(np.arange(len(owner)), seed, "order of awards"), kind="stable")
    owner, first = owner[shuffled], first[shuffled]
    award_keys = keys_of(np.arange(len(owner)), seed, "award")
    second = second_versions(award_keys, first)
    upper = chance(keys, "upper case", shares.UPPER_CASE_SHARE)
    awards = _awards(award_keys, company, owner, second, upper, models)
    with atomic_path(path) as temporary:
        csv.write_csv(awards, temporary)
    if organisations is not None:
        with atomic_path(organisations) as temporary:
            shown = np.bincount(owner, weights=second, minlength=companies) > 0
            pq.write_table(_organisations(company, shown), temporary, compression="zstd")
    if truth is not None:
        numbers = _lists(owner, column(awards, "Agency Tracking Number"), companies)
        write_truth(truth, company.append_column("agency_tracking_numbers", numbers), recipients)


def _foreign(recipients: Path) -> Flags:
    """Which recipients are abroad; SBIR companies are not."""
    with pq.ParquetFile(recipients) as file:
        batches = file.iter_batches(batch_size=_BATCH_ROWS, columns=["country_code"], use_threads=False)
        parts = [flags(pc.not_equal(batch["country_code"], "USA")) for batch in batches]
    return np.concatenate(parts)


def _take_rows(path: Path, rows: Ints) -> pa.Table:
    """The rows of the file with these numbers, in the order of ``rows``, one batch in memory at a time."""
    wanted = np.sort(rows)
    parts = []
    with pq.ParquetFile(path) as file:
        start = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            inside = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, start + batch.num_rows)]
            parts.append(batch.take(pa.array(inside - start)))
            start += batch.num_rows
    return pa.Table.from_batches(parts).take(pa.array(np.searchsorted(wanted, rows))).combine_chunks()


def _organisations(company: pa.Table, second_shown: Flags) -> pa.Table:
    """The companies in the columns of ``enrich-dist link``, with a second name if an award has it."""
    second = column(company, "second_name")
    differs = flags(pc.not_equal(second, company["name"])) & second_shown
    starts = np.concatenate([[0], np.cumsum(differs)]).astype(np.int32)
    return pa.table(
        {
            "id": company["company"],
            "name": company["name"],
            "address": company["address"],
            "city": company["city"],
            "state": company["state"],
            "zip": company["zip5"],
            "uei": company["uei"],
            "duns": company["duns"],
            "alternate_names": pa.ListArray.from_arrays(pa.array(starts), second.filter(pa.array(differs))),
        }
    )


def _awards(keys: Keys, companies: pa.Table, owner: Ints, second: Flags, upper: Flags, models: Models) -> pa.Table:
    """One award for every number in ``owner``, as text with the headers of the file.

    ``second``: awards with the second version. ``upper``: companies with an upper-case name.
    """
    count = len(owner)
    company = companies.take(pa.array(owner))
    shown = {part: where(second, column(company, f"second_{part}"), column(company, part)) for part in ("name", *PLACE)}
    agency = weighted(keys, "agency", [share for _, _, share in _AGENCIES])
    year = below(keys, "year", _YEARS[1] - _YEARS[0]) + _YEARS[0]
    month, day = below(keys, "month", 12) + 1, below(keys, "day", 28) + 1
    columns: dict[str, Any] = {
        "Company": where(upper[owner], shown["name"], _title(shown["name"])),
        "Award Title": pc.utf8_title(models.names.coin(keys)),
        "Agency": pa.array([name for name, _, _ in _AGENCIES]).take(pa.array(agency)),
        "Branch": pa.array([branch for _, branch, _ in _AGENCIES]).take(pa.array(agency)),
        "Phase": pa.array(["Phase I", "Phase II"]).take(pa.array(chance(keys, "phase", 0.36).astype(np.int8))),
        "Program": pa.array(["SBIR", "STTR"]).take(pa.array(chance(keys, "program", 0.13).astype(np.int8))),
        "Agency Tracking Number": _numbered("T", np.arange(count)),
        "Contract": _numbered("C", np.arange(count)),
        "Proposal Award Date": _date(month, day, year),
        "Contract End Date": _date(month, day, year + 1),
        "Solicitation Number": number_texts(year),
        "Solicitation Year": number_texts(year),
        "Topic Code": _numbered("AF", below(keys, "topic", 1_000)),
        "Award Year": number_texts(year),
        "Award Amount": number_texts(below(keys, "amount", 1_950_000) + 50_000),
        "UEI": column(company, "uei"),
        "Duns": column(company, "duns"),
        "HUBZone Owned": _yes_no(keys, "hubzone", 0.03),
        "Socially and Economically Disadvantaged": _yes_no(keys, "disadvantaged", 0.10),
        "Woman Owned": _yes_no(keys, "woman owned", 0.15),
        "Number Employees": number_texts(below(keys, "employees", 499) + 1),
        "Company Website": pa.nulls(count, pa.string()),
        "Address1": shown["address"],
        "Address2": pa.nulls(count, pa.string()),
        "City": pc.utf8_title(shown["city"]),
        "State": shown["state"],
        "Zip": pc.binary_join_element_wise(shown["zip5"], shown["zip4"], "-"),
        "RI Name": pa.nulls(count, pa.string()),
    }
    return pa.table({header: pc.fill_null(cells, "") for header, cells in columns.items()})


def _title(names: pa.Array) -> pa.Array:
    """Names in upper and lower case, as most awards have them."""
    return pc.replace_substring_regex(pc.utf8_title(names), r"\bLlc\b", "LLC")


def _lists(owner: Ints, texts: pa.Array, count: int) -> pa.Array:
    """For each owner below ``count`` its texts, in the order of the rows."""
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(count + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(starts), texts.take(pa.array(order)))


def _sorted(texts: pa.ChunkedArray) -> pa.Array:
    values = pa.concat_arrays(texts.chunks)
    return values.take(pc.array_sort_indices(values))


def _yes_no(keys: Keys, purpose: str, share: float) -> pa.Array:
    return pc.if_else(pa.array(chance(keys, purpose, share)), "Y", "N")


def _numbered(prefix: str, numbers: Ints) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pc.utf8_lpad(number_texts(numbers), width=8, padding="0"), "-")


def _date(month: Ints, day: Ints, year: Ints) -> pa.Array:
    """Dates as in the file of SBIR.gov: MM-DD-YYYY."""
    two_digits = [pc.utf8_lpad(number_texts(numbers), width=2, padding="0") for numbers in (month, day)]
    return pc.binary_join_element_wise(*two_digits, number_texts(year), "-")
