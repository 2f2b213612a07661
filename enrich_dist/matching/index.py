"""The company index: a directory of files that workers map into memory, so that workers of a host share the pages.

Distinct texts are Arrow IPC files, relations between texts and companies are ``.npy`` arrays, the words of names are in
``vocabulary``. The bytes depend only on the companies. Does not cover the location, digest and publication of the
directory (the caller's) nor searches (``blocking``, ``compare``).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching.arrays import Lists, as_array, load, starts_of, text_buffers
from enrich_dist.matching.kernels.addresses import address_heads, house_numbers
from enrich_dist.matching.kernels.relations import agreements, find_texts
from enrich_dist.matching.kernels.text import Bytes, Hashes, Ints, hash_filter, hash_table, hash_texts
from enrich_dist.matching.normalise import (
    normalise_addresses,
    normalise_cities,
    normalise_codes,
    normalise_streets,
    split_names,
)
from enrich_dist.matching.vocabulary import Vocabulary, open_vocabulary, write_vocabulary

UEI_PATTERN = "[A-Z0-9]{12}"
DUNS_PATTERN = "[0-9]{9}"
STATE_PATTERN = "[A-Z]{2}"
ZIP_PATTERN = "[0-9]{5}"

# Length at which some sources truncate names (characters).
CUT_LENGTH = 30


@dataclass(frozen=True)
class Relation:
    """Distinct texts of companies (names, UEIs, cities, …) and the companies with each, looked up from both sides."""

    texts: pa.Array  # string, distinct, ascending
    companies: Lists  # of a text
    codes: Lists  # of a company

    def look_up(self, values: pa.Array) -> Ints:
        """Return the codes of the values, int64, -1 for a value of no company."""
        return np.asarray(find_texts(text_buffers(values), self._codes_by_hash, text_buffers(self.texts)))

    @functools.cached_property
    def _codes_by_hash(self) -> tuple[Hashes, Ints]:
        return hash_table(hash_texts(*text_buffers(self.texts), False), np.arange(len(self.texts)))

    def agreement(
        self, codes: Ints, missing: npt.NDArray[np.bool_], rows: Ints, companies: Ints
    ) -> npt.NDArray[np.int8]:
        """Return the ``Agreement`` of the pairs (row, company): UNKNOWN where one has no text.

        ``codes`` (int64, -1 for a text of no company) and ``missing`` have one entry per row.
        """
        return np.asarray(agreements(codes, missing, rows, companies, self.codes.starts, self.codes.values))


RELATIONS = ("names", "ueis", "duns", "states", "cities", "zips", "streets", "buildings", "addresses")


@dataclass(frozen=True)
class CompanyIndex:
    """The opened index of ``company_count`` companies with ids from 0, one relation per kind of text.

    ``cities`` are ``state|city``; a *name* is a distinct normalised name and its number the code in ``names``.
    ``addresses`` are ``normalise_addresses``, ``buildings`` the same without suites.
    """

    company_count: int
    names: Relation
    ueis: Relation
    duns: Relation
    states: Relation
    cities: Relation
    zips: Relation
    streets: Relation
    buildings: Relation
    addresses: Relation
    address_filter: Bytes
    """Filter of the heads of all addresses (``kernels.addresses``), uint8."""
    zip_states: Ints
    """State code of each ZIP code, int64: the most frequent, -1 for unknown."""
    vocabulary: Vocabulary


def join_city(states: pa.Array, cities: pa.Array) -> pa.Array:
    """Return ``state|city`` of normalised texts, null if one is missing. Many towns have equal names."""
    return pc.binary_join_element_wise(states, cities, "|")


def build_index(companies: pa.Table, directory: Path) -> None:
    """Write the index of ``companies`` (``schema.COMPANY``) into an existing or new directory.

    The order of rows does not matter; ``company_id`` must run from 0 without gaps (``ValueError`` otherwise).
    """
    directory.mkdir(parents=True, exist_ok=True)
    companies = companies.sort_by("company_id").combine_chunks()
    count = companies.num_rows
    if not np.array_equal(companies["company_id"].to_numpy(), np.arange(count)):
        raise ValueError("company_id must run from 0 without gaps")
    owners, raw = _flatten(companies["names"])
    raw = pa.concat_arrays([as_array(companies["name"]), raw])
    raw_owners = np.concatenate([np.arange(count), owners])
    split = split_names(raw)
    owners, names = raw_owners[split["row"].to_numpy()], as_array(split["name"])
    texts = _write_relation(directory, "names", owners, names, count)
    for column, pattern in (("ueis", UEI_PATTERN), ("duns", DUNS_PATTERN)):
        owners, codes = _flatten(companies[column])
        _write_relation(directory, column, owners, normalise_codes(codes, pattern), count)
    owners, places = _flatten(companies["locations"])
    address, city, state, zip5 = (pc.struct_field(places, field) for field in ("address", "city", "state", "zip5"))
    states = normalise_codes(state, STATE_PATTERN)
    state_texts = _write_relation(directory, "states", owners, states, count)
    name_states = _name_states(directory, len(state_texts))
    cities = join_city(states, normalise_cities(city))
    city_texts = _write_relation(directory, "cities", owners, cities, count)
    zips = normalise_codes(zip5, ZIP_PATTERN)
    zip_texts = _write_relation(directory, "zips", owners, zips, count)
    np.save(directory / "zip_states.npy", _zip_states(zips, zip_texts, states, state_texts))
    streets = normalise_streets(address, pa.nulls(len(address), pa.string()))
    _write_relation(directory, "streets", owners, streets, count)
    towns = _codes(zips, zip_texts), _codes(cities, city_texts)
    _write_addresses(directory, owners, normalise_addresses(address, pa.nulls(len(address), pa.string())), towns, count)
    write_vocabulary(directory, texts, name_states, len(state_texts), _cut_names(raw, texts))
    np.save(directory / "company_count.npy", np.array([count]))


def open_index(directory: Path) -> CompanyIndex:
    """Map the files of ``build_index`` into memory."""
    relations = {name: _open_relation(directory, name) for name in RELATIONS}
    return CompanyIndex(
        company_count=int(load(directory / "company_count.npy")[0]),
        zip_states=load(directory / "zip_states.npy"),
        address_filter=load(directory / "address_filter.npy"),
        vocabulary=open_vocabulary(directory, len(relations["states"].texts)),
        **relations,
    )


def _write_addresses(
    directory: Path, owners: Ints, addresses: pa.Array, towns: tuple[Ints, Ints], company_count: int
) -> None:
    """Write the addresses of companies (``owners``); ``towns``: their ZIP and city codes, -1 for unknown."""
    buildings = pc.replace_substring_regex(addresses, "/.*", "")
    _write_relation(directory, "buildings", owners, buildings, company_count)
    _write_relation(directory, "addresses", owners, addresses, company_count)
    numbers = house_numbers(*text_buffers(buildings))
    np.save(directory / "address_filter.npy", hash_filter(np.unique(address_heads(numbers, *towns))))


def _codes(texts: pa.Array, known: pa.Array) -> Ints:
    """Return the position of each text in ``known``, int64, -1 for null."""
    found = pc.fill_null(pc.index_in(texts, value_set=known), -1).to_numpy(zero_copy_only=False)
    return np.asarray(found, dtype=np.int64)


def _cut_names(raw: pa.Array, texts: pa.Array) -> tuple[Ints, pa.Array]:
    """Return (name, normal form of the first ``CUT_LENGTH`` characters) of the longer raw names."""
    raw = pc.unique(raw.filter(pc.fill_null(pc.greater(pc.utf8_length(raw), CUT_LENGTH), False)))
    first = split_names(raw)
    first = first.filter(pc.invert(first["further"]))
    cut = split_names(pc.utf8_slice_codeunits(raw, 0, CUT_LENGTH))
    cut = cut.filter(pc.invert(cut["further"]))
    _, at, cut_at = np.intersect1d(first["row"].to_numpy(), cut["row"].to_numpy(), return_indices=True)
    names = pc.index_in(as_array(first["name"]).take(pa.array(at)), value_set=texts).to_numpy(zero_copy_only=False)
    return names.astype(np.int64), as_array(cut["name"]).take(pa.array(cut_at))


def _zip_states(zips: pa.Array, zip_texts: pa.Array, states: pa.Array, state_texts: pa.Array) -> Ints:
    """Return the most frequent state code of each ZIP code, the first on ties, -1 for none."""
    zip_codes, state_codes = _codes(zips, zip_texts), _codes(states, state_texts)
    both = (zip_codes >= 0) & (state_codes >= 0)
    width = max(len(state_texts), 1)
    pairs, counts = np.unique(zip_codes[both] * width + state_codes[both], return_counts=True)
    order = np.lexsort((pairs % width, -counts, pairs // width))
    found = np.full(len(zip_texts), -1, dtype=np.int64)
    codes, first = np.unique(pairs[order] // width, return_index=True)
    found[codes] = (pairs[order] % width)[first]
    return found


def _name_states(directory: Path, state_count: int) -> tuple[Ints, Ints]:
    """Return the distinct (name, state) of companies; ``state_count`` for a company without a state."""
    names, states = _open_relation(directory, "names"), _open_relation(directory, "states")
    company_name = np.repeat(np.arange(len(names.texts)), np.diff(names.companies.starts))
    companies = names.companies.values
    at, state = states.codes.expand(companies)
    stateless = states.codes.counts(companies) == 0
    name = np.concatenate([company_name[at], company_name[stateless]])
    state = np.concatenate([state, np.full(int(stateless.sum()), state_count)])
    pairs = np.unique(name.astype(np.int64) * (state_count + 1) + state)
    return pairs // (state_count + 1), pairs % (state_count + 1)


def _flatten(lists: Any) -> tuple[Ints, pa.Array]:
    """Return (row, member) of a list column."""
    lists = as_array(lists)
    return pc.list_parent_indices(lists).to_numpy(zero_copy_only=False), pc.list_flatten(lists)


def _write_relation(directory: Path, name: str, owners: Ints, texts: pa.Array, company_count: int) -> pa.Array:
    """Write a relation and return its distinct texts."""
    present = texts.is_valid()
    owners = owners[present.to_numpy(zero_copy_only=False)]
    texts = texts.drop_null()
    distinct = pc.unique(texts)
    distinct = distinct.take(pc.array_sort_indices(distinct))
    codes = pc.index_in(texts, value_set=distinct).to_numpy(zero_copy_only=False)
    width = max(len(distinct), 1)
    pairs = np.unique(owners.astype(np.int64) * width + codes)
    company, code = pairs // width, pairs % width
    by_code = np.argsort(code, kind="stable")
    arrays = {
        "companies_starts": starts_of(code, len(distinct)),
        "companies": company[by_code].astype(np.int32),
        "codes_starts": starts_of(company, company_count),
        "codes": code.astype(np.int32),
    }
    for part, array in arrays.items():
        np.save(directory / f"{name}_{part}.npy", array)
    table = pa.table({"text": distinct.cast(pa.string())})
    with pa.OSFile(str(directory / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return distinct


def _open_relation(directory: Path, name: str) -> Relation:
    texts = pa.ipc.open_file(pa.memory_map(str(directory / f"{name}.arrow"))).read_all()["text"]
    parts = ("companies_starts", "companies", "codes_starts", "codes")
    companies_starts, companies, codes_starts, codes = (load(directory / f"{name}_{part}.npy") for part in parts)
    return Relation(
        texts=as_array(texts),
        companies=Lists(companies_starts, companies),
        codes=Lists(codes_starts, codes),
    )
