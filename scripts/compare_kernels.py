"""Ways of finding the pairs of names that are worth comparing, measured on the same names.

    python -m scripts.compare_kernels --case DIRECTORY          a case as ``scripts.peers.cases`` reads it

All companies are the index, random recipients are looked up in it. Every kernel gets the distinct names of both sides
in the project's normal form (legal, alternate and those behind DBA; made outside the clock) and answers with pairs of
recipient and company. Each runs in a process of its own on one thread, some times over, of which the least CPU time
counts: the machine may be busy. Building the index of the companies is counted apart. Reported are CPU seconds, peak
memory, pairs kept, and the share of the true partners, of all and of the findable ones, that are among the pairs. A
kernel that compares too many pairs is asked for a part of the recipients; its times are extrapolated in proportion and
marked with a tilde.

Not covered: how pairs are scored and decided (``compare_peers``, ``measure_accuracy``), identifiers, tuning of the
rivals beyond what ``KERNELS`` tells, more than one thread. A kernel whose library is missing is not measured.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.duck import connect
from enrich_dist.files import write_json
from enrich_dist.matching import CandidateConfig, blocking
from enrich_dist.matching.__main__ import main as compile_kernels
from enrich_dist.matching.arrays import Lists, starts_of
from enrich_dist.matching.index import build_index, open_index
from enrich_dist.matching.kernels.tokens import look_up
from enrich_dist.matching.normalise import split_names
from enrich_dist.matching.text_arrays import text_buffers, whole
from enrich_dist.matching.vocabulary import COMMON_SHARE
from scripts.peers.answers import COLUMNS
from scripts.peers.cases import Known, read_case
from scripts.peers.process import measure

ROOT: Final = Path(__file__).resolve().parents[1]
RECIPIENTS: Final = 50_000
SAMPLE: Final = 2_000
REPEATS: Final = 3
MB: Final = 1_000_000

MIN_COSINE: Final = 0.6
TOP: Final = 5
MIN_OVERLAP: Final = 0.45
MIN_TOKEN_SET_RATIO: Final = 90
UNKNOWN_BITS: Final = 15.0
"""Weight of a word that no company bears, as in ``blocking``."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """The distinct names of one table. ``bearers``: rows of the table by name."""

    table: pa.Table
    names: pa.Array
    bearers: Lists

    @classmethod
    def of(cls, table: pa.Table) -> Side:
        """The names that a table in ``COLUMNS`` holds, normalised."""
        alternates = whole(table["alternate_names"])
        owners = np.concatenate([np.arange(len(table)), pc.list_parent_indices(alternates).to_numpy()])
        split = split_names(pa.concat_arrays([whole(table["name"]), pc.list_flatten(alternates)]))
        encoded = pc.dictionary_encode(whole(split["name"]))
        names, codes = encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)
        width = max(len(table), 1)
        keys = np.unique(codes * width + owners[split["row"].to_numpy()])
        return cls(table, names, Lists(starts_of(keys // width, len(names)), keys % width))


@dataclass(frozen=True)
class Pairs:
    """(recipient, company) as rows of their tables, each pair once."""

    recipients: Ints
    companies: Ints


@dataclass(frozen=True)
class Ready:
    """An index of the companies, ready to be asked. ``ask`` is timed. ``whole``: the same with normalising, if it
    can be told."""

    ask: Callable[[], Pairs]
    whole: Callable[[], Pairs] | None = None


@dataclass(frozen=True)
class Kernel:
    """A way of finding pairs. ``build`` gets companies, recipients and an empty directory, and is timed, too."""

    title: str
    how: str
    libraries: tuple[str, ...]
    warm_up: Callable[[], None]
    build: Callable[[Side, Side, Path], Callable[[], Ready]]
    sampled: bool = False


def of_names(companies: Side, recipients: Side, asked: Ints, found: Ints) -> Pairs:
    """The pairs of bearers of pairs of names."""
    at, rows = recipients.bearers.expand(asked)
    on, others = companies.bearers.expand(found[at])
    width = max(len(companies.table), 1)
    keys = np.unique(rows[on].astype(np.int64) * width + others)
    return Pairs(keys // width, keys % width)


# (a) The kernel of this project.


def build_ours(companies: Side, recipients: Side, scratch: Path) -> Callable[[], Ready]:
    """``blocking`` as the workers use it, without identifiers."""
    return _build_ours(companies, recipients, scratch, with_places=True)


def build_ours_without_places(companies: Side, recipients: Side, scratch: Path) -> Callable[[], Ready]:
    """The same for recipients of which nothing but the names is known."""
    return _build_ours(companies, recipients, scratch, with_places=False)


def _build_ours(companies: Side, recipients: Side, scratch: Path, *, with_places: bool) -> Callable[[], Ready]:
    build_index(_as_companies(companies.table), scratch)
    index = open_index(scratch)
    config = CandidateConfig()

    def ready() -> Ready:
        table = _as_recipients(recipients.table, with_places=with_places)
        batch = blocking.prepare(index, table)

        def ask() -> Pairs:
            tokens = look_up(*text_buffers(batch.names), index.vocabulary.words, index.vocabulary.joined)
            looked_up = replace(batch, name_codes=index.names.look_up(batch.names), tokens=tokens)
            pairs = blocking.candidate_pairs(index, looked_up, config)
            return Pairs(pairs.rows, pairs.companies)

        def whole_way() -> Pairs:
            pairs = blocking.candidate_pairs(index, blocking.prepare(index, table), config)
            return Pairs(pairs.rows, pairs.companies)

        return Ready(ask, whole_way)

    return ready


def _as_companies(table: pa.Table) -> pa.Table:
    count = len(table)
    rows = pa.array(np.arange(count + 1, dtype=np.int32))
    zip5 = pc.utf8_slice_codeunits(whole(table["zip"]), 0, 5)
    place = [*(whole(table[name]) for name in ("address", "city", "state")), zip5]
    none = pa.array([[]] * count, pa.list_(pa.string()))
    columns = {
        "company_id": rows.slice(0, count),
        "company_key": whole(table["id"]),
        "name": whole(table["name"]),
        "names": pc.fill_null(whole(table["alternate_names"]), []),
        "ueis": none,
        "duns": none,
        "locations": pa.ListArray.from_arrays(rows, pa.StructArray.from_arrays(place, fields=list(schema.LOCATION))),
        "award_count": pa.array(np.ones(count, dtype=np.int32)),
    }
    return pa.table([columns[name] for name in schema.COMPANY.names], schema=schema.COMPANY)


def _as_recipients(table: pa.Table, *, with_places: bool) -> pa.Table:
    columns = {
        "source_row": pa.array(np.arange(1, len(table) + 1)),
        "recipient_id": table["id"],
        "name": table["name"],
        "alternate_names": table["alternate_names"],
    }
    if with_places:
        zip5 = pc.utf8_slice_codeunits(whole(table["zip"]), 0, 5)
        columns |= {"address_line_1": table["address"], "city": table["city"], "state": table["state"], "zip5": zip5}
    nothing = {field.name: pa.nulls(len(table), field.type) for field in schema.RECIPIENT}
    return pa.table([({**nothing, **columns})[name] for name in schema.RECIPIENT.names], schema=schema.RECIPIENT)


# (b) TF-IDF of character 3-grams.

_LETTERS: Final = b" 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_GRAMS: Final = len(_LETTERS) ** 3


def gram_counts(names: pa.Array) -> Any:
    """Character 3-grams of the names, a space put before and after each: a sparse matrix of counts, float32."""
    from scipy.sparse import csr_matrix

    data, starts = text_buffers(pc.binary_join_element_wise("", names, "", " "))
    number = np.zeros(256, dtype=np.int32)
    number[np.frombuffer(_LETTERS, dtype=np.uint8)] = np.arange(len(_LETTERS))
    letters = number[data[starts[0] : starts[-1]]]
    grams = (letters[:-2] * len(_LETTERS) + letters[1:-1]) * len(_LETTERS) + letters[2:]
    owner = np.repeat(np.arange(len(names), dtype=np.int32), np.diff(starts))
    within = owner[:-2] == owner[2:]
    ones = np.ones(int(within.sum()), dtype=np.float32)
    return csr_matrix((ones, (owner[:-2][within], grams[within])), shape=(len(names), _GRAMS))


def _weighted(counts: Any, weights: npt.NDArray[np.float32]) -> Any:
    """Rows of weighted counts, each of length 1."""
    counts.data *= weights[counts.indices]
    squares = np.zeros(counts.shape[0] + 1)
    np.cumsum(np.add.reduceat(np.append(counts.data**2, 0), counts.indptr[:-1]), out=squares[1:])
    norms = np.sqrt(np.diff(squares))
    counts.data /= np.repeat(np.maximum(norms, 1e-9), np.diff(counts.indptr)).astype(np.float32)
    return counts


def build_grams(companies: Side, recipients: Side, scratch: Path) -> Callable[[], Ready]:
    """Weights of the grams from the companies' names alone (a worker sees a chunk of the recipients only)."""
    from sparse_dot_topn import sp_matmul_topn

    del scratch
    counts = gram_counts(companies.names)
    bearers = np.bincount(counts.indices, minlength=_GRAMS)
    weights = (np.log((1 + len(companies.names)) / (1 + bearers)) + 1).astype(np.float32)
    grams = _weighted(counts, weights).T.tocsr()

    def ask() -> Pairs:
        asked = _weighted(gram_counts(recipients.names), weights)
        best = sp_matmul_topn(asked, grams, top_n=TOP, threshold=MIN_COSINE, n_threads=1)
        rows = np.repeat(np.arange(len(recipients.names)), np.diff(best.indptr))
        return of_names(companies, recipients, rows, best.indices.astype(np.int64))

    return lambda: Ready(ask)


# (c) An inverted join in SQL.

_BUILD_SQL: Final = f"""
create table word as select id, unnest(list_distinct(string_split(name, ' '))) as word from companies;
create table weight as
    select word, log2((select count(*) from companies) / count(*)) + 1 as weight,
           count(*) <= {COMMON_SHARE} * (select count(*) from companies) as rare
    from word group by word;
create table borne as select id, word, weight, rare from word join weight using (word);
create table total as select id, sum(weight) as total from borne group by id;
"""
_ASK_SQL: Final = f"""
with asked_word as materialized (
    select id, word, coalesce(weight, {UNKNOWN_BITS}) as weight, coalesce(rare, false) as rare
    from (select id, unnest(list_distinct(string_split(name, ' '))) as word from asked) left join weight using (word)
),
asked_total as (select id, sum(weight) as total from asked_word group by id),
pair as (
    select distinct a.id as asked, b.id as found from asked_word a join borne b using (word) where a.rare and b.rare
),
shared as (
    select asked, found, sum(b.weight) as shared
    from pair join asked_word a on a.id = asked join borne b on b.id = found and b.word = a.word group by all
)
select asked, found from shared join asked_total a on a.id = asked join total t on t.id = found
where 2 * shared / (a.total + t.total) >= {MIN_OVERLAP}
union select a.id, c.id from asked a join companies c using (name)
"""


def build_sql(companies: Side, recipients: Side, scratch: Path) -> Callable[[], Ready]:
    """Words of the companies' names in tables; the connection lives as long as what asks it."""
    opened = connect(memory_mb=2_000, scratch=scratch, threads=1)
    connection = opened.__enter__()
    connection.from_arrow(_numbered(companies.names)).create("companies")
    connection.execute(_BUILD_SQL)

    def ask() -> Pairs:
        connection.register("asked", _numbered(recipients.names))
        found = connection.sql(_ASK_SQL).to_arrow_table()
        return of_names(companies, recipients, found["asked"].to_numpy(), found["found"].to_numpy())

    def ready() -> Ready:
        del opened.__dict__  # placeholder
        return Ready(ask)

    return ready
