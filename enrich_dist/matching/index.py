"""The companies as workers search them: a directory of files that are mapped into memory, not read.

Covers writing the files, with bytes that depend on nothing but the companies, and opening them: distinct texts as
Arrow IPC files, everything that joins texts and companies as ``.npy`` arrays. Workers of one host share the pages.
Does not cover where the directory lies, its digest and its publication (the caller's), nor what is searched
(``blocking``, ``compare``).

Arrays are mapped copy-on-write (mode ``c``): the compiled top-n product refuses read-only arrays, and pages that
nobody writes to stay shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching import grams
from enrich_dist.matching.normalise import normalise_cities, normalise_codes, normalise_names, normalise_streets

UEI_PATTERN = "[A-Z0-9]{12}"
DUNS_PATTERN = "[0-9]{9}"
STATE_PATTERN = "[A-Z]{2}"
ZIP_PATTERN = "[0-9]{5}"

Ints = npt.NDArray[Any]


@dataclass(frozen=True)
class Lists:
    """Lists of numbers by key: those of key k are ``values[starts[k]:starts[k + 1]]``, ascending and distinct."""

    starts: Ints  # int64, one more than keys
    values: Ints  # int32

    def expand(self, keys: Ints) -> tuple[Ints, Ints]:
        """All members of the keys' lists: (position in ``keys``, value), in the order of ``keys``."""
        begin = self.starts[keys]
        counts = self.starts[keys + 1] - begin
        origin = np.repeat(np.arange(len(keys)), counts)
        within = np.arange(len(origin)) - np.repeat(np.cumsum(counts) - counts, counts)
        return origin, self.values[np.repeat(begin, counts) + within]

    def counts(self, keys: Ints) -> Ints:
        """Lengths of the keys' lists."""
        return np.asarray(self.starts[keys + 1] - self.starts[keys])


@dataclass(frozen=True)
class Relation:
    """A distinct text of companies (names, UEIs, cities, …) and who bears it, looked up from both sides.

    ``pairs`` are int64 keys ``company_id * len(texts) + text code``, ascending: membership is a binary search.
    """

    texts: pa.Array  # string, distinct, ascending
    companies: Lists  # of a text
    codes: Lists  # of a company
    pairs: Ints

    def look_up(self, values: pa.Array) -> Ints:
        """Codes of the values, int64, -1 where no company bears the value."""
        found = pc.index_in(values, value_set=self.texts, skip_nulls=True)
        return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64))

    def agreement(self, codes: Ints, missing: Ints, companies: Ints) -> npt.NDArray[np.int8]:
        """Whether a company bears the text: 1 yes, -1 no, 0 where ``missing`` or the company bears none.

        ``codes``, ``missing`` (bool) and ``companies`` run in parallel, one entry per pair to compare.
        """
        keys = companies.astype(np.int64) * max(len(self.texts), 1) + codes
        at = np.searchsorted(self.pairs, keys)
        borne = np.zeros(len(keys), dtype=bool)
        inside = (at < len(self.pairs)) & (codes >= 0)
        borne[inside] = self.pairs[at[inside]] == keys[inside]
        comparable = ~missing & (self.codes.counts(companies) > 0)
        return np.where(comparable, np.where(borne, 1, -1), 0).astype(np.int8)


RELATIONS = ("names", "ueis", "duns", "states", "cities", "zips", "streets")


@dataclass(frozen=True)
class CompanyIndex:
    """All companies, opened. ``company_count`` companies with ids from 0; relations by what their texts are.

    ``cities`` are ``state|city``. ``idf``: float64 (GRAM_COUNT). ``name_vectors``: int32 matrix (names, GRAM_COUNT);
    ``gram_vectors``: its transpose, as the top-n product wants it. Both are ``scipy.sparse.csr_matrix``.
    """

    company_count: int
    names: Relation
    ueis: Relation
    duns: Relation
    states: Relation
    cities: Relation
    zips: Relation
    streets: Relation
    idf: grams.Floats
    name_vectors: Any
    gram_vectors: Any


def join_city(states: pa.Array, cities: pa.Array) -> pa.Array:
    """``state|city`` of normalised texts, null where one is missing: equal names of towns abound."""
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
    main = normalise_names(companies["name"])
    owners, names = _flatten(companies["names"])
    names = pa.concat_arrays([main, normalise_names(names)])
    texts = _write_relation(directory, "names", np.concatenate([np.arange(count), owners]), names, count)
    for column, pattern in (("ueis", UEI_PATTERN), ("duns", DUNS_PATTERN)):
        owners, codes = _flatten(companies[column])
        _write_relation(directory, column, owners, normalise_codes(codes, pattern), count)
    owners, places = _flatten(companies["locations"])
    address, city, state, zip5 = (pc.struct_field(places, field) for field in ("address", "city", "state", "zip5"))
    states = normalise_codes(state, STATE_PATTERN)
    _write_relation(directory, "states", owners, states, count)
    _write_relation(directory, "cities", owners, join_city(states, normalise_cities(city)), count)
    _write_relation(directory, "zips", owners, normalise_codes(zip5, ZIP_PATTERN), count)
    streets = normalise_streets(address, pa.nulls(len(address), pa.string()))
    _write_relation(directory, "streets", owners, streets, count)
    _write_vectors(directory, texts)
    np.save(directory / "company_count.npy", np.array([count]))


def open_index(directory: Path) -> CompanyIndex:
    """Open the files of ``build_index`` by mapping them; nothing is read before it is used."""
    from scipy.sparse import csr_matrix

    relations = {name: _open_relation(directory, name) for name in RELATIONS}
    name_count = len(relations["names"].texts)
    by_name, by_gram = (
        csr_matrix(tuple(_map(directory / f"{kind}_{part}.npy") for part in ("weights", "columns", "starts")), shape)
        for kind, shape in (
            ("name_vectors", (name_count, grams.GRAM_COUNT)),
            ("gram_vectors", (grams.GRAM_COUNT, name_count)),
        )
    )
    return CompanyIndex(
        company_count=int(_map(directory / "company_count.npy")[0]),
        idf=_map(directory / "idf.npy"),
        name_vectors=by_name,
        gram_vectors=by_gram,
        **relations,
    )


def _flatten(lists: Any) -> tuple[Ints, pa.Array]:
    """(row, member) of a list column."""
    lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], lists.type)
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
        "pairs": pairs,
        "companies_starts": _starts(code, len(distinct)),
        "companies": company[by_code].astype(np.int32),
        "codes_starts": _starts(company, company_count),
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
    parts = ("companies_starts", "companies", "codes_starts", "codes", "pairs")
    companies_starts, companies, codes_starts, codes, pairs = (_map(directory / f"{name}_{p}.npy") for p in parts)
    return Relation(
        texts=texts.chunk(0) if texts.num_chunks else pa.array([], pa.string()),
        companies=Lists(companies_starts, companies),
        codes=Lists(codes_starts, codes),
        pairs=pairs,
    )


def _write_vectors(directory: Path, names: pa.Array) -> None:
    """Write the 3-gram vectors of the distinct names, by name and by gram, and the idf they are weighted with."""
    _, gram, _ = grams.count_grams(names)
    idf = grams.inverse_document_frequency(gram, len(names))
    by_name = grams.vectors(names, idf)
    by_gram = by_name.T.tocsr()
    np.save(directory / "idf.npy", idf)
    for kind, matrix in (("name_vectors", by_name), ("gram_vectors", by_gram)):
        np.save(directory / f"{kind}_weights.npy", matrix.data)
        np.save(directory / f"{kind}_columns.npy", matrix.indices.astype(np.int32))
        np.save(directory / f"{kind}_starts.npy", matrix.indptr.astype(np.int32))


def _starts(keys: Ints, key_count: int) -> Ints:
    """Where each key's list begins and ends, from the keys of all members: int64 (key_count + 1)."""
    starts = np.zeros(key_count + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=key_count), out=starts[1:])
    return starts


def _map(path: Path) -> Ints:
    # An empty array cannot be mapped, and a tiny one is sooner read than mapped.
    array: Ints = np.load(path, mmap_mode="c" if path.stat().st_size > 256 else None)
    return np.asarray(array)
