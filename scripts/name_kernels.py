"""The kernels of ``scripts.compare_kernels``: ways of finding the pairs of names that are worth comparing.

Each takes the distinct names of two tables in the project's normal form, builds an index of the companies' names and
answers for the recipients with pairs of rows. Covers the project's own kernel (``enrich_dist.matching.blocking``) and
rivals as one would write them with the library at hand; libraries are imported where they are used, so that a missing
one costs its kernel only. Does not cover measuring, scores of pairs, identifiers, nor more than one thread.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.core.database import OFFLINE
from enrich_dist.matching import CandidateConfig, blocking
from enrich_dist.matching.arrays import Lists, starts_of
from enrich_dist.matching.index import build_index, open_index
from enrich_dist.matching.kernels.tokens import look_up
from enrich_dist.matching.normalise import split_names
from enrich_dist.matching.text_arrays import text_buffers, whole
from enrich_dist.matching.vocabulary import COMMON_SHARE

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
class Question:
    """What is timed. ``ask``: from normalised names to pairs; ``from_text``: the same from raw text, where that is
    told, too."""

    ask: Callable[[], Pairs]
    from_text: Callable[[], Pairs] | None = None


Index = Callable[[Side], Question]
"""An index of the companies, put to some recipients."""


@dataclass(frozen=True)
class Kernel:
    """A way of finding pairs. ``build`` gets the companies and an empty directory, and is timed, too.

    ``sampled``: it compares so many pairs that a part of the recipients must do.
    """

    title: str
    how: str
    libraries: tuple[str, ...]
    build: Callable[[Side, Path], Index]
    sampled: bool = False


def pairs_of_names(companies: Side, recipients: Side, asked: Ints, found: Ints) -> Pairs:
    """The pairs of rows whose names these are."""
    at, rows = recipients.bearers.expand(asked)
    on, others = companies.bearers.expand(found[at])
    width = max(len(companies.table), 1)
    keys = np.unique(rows[on].astype(np.int64) * width + others)
    return Pairs(keys // width, keys % width)


# (a) The kernel of this project.


def build_ours(companies: Side, scratch: Path) -> Index:
    """``blocking`` as the workers use it, without identifiers."""
    return _build_ours(companies, scratch, with_places=True)


def build_ours_by_name(companies: Side, scratch: Path) -> Index:
    """The same for recipients of which nothing but the names is known."""
    return _build_ours(companies, scratch, with_places=False)


def _build_ours(companies: Side, scratch: Path, *, with_places: bool) -> Index:
    build_index(_as_companies(companies.table), scratch)
    index = open_index(scratch)
    config = CandidateConfig()

    def put(recipients: Side) -> Question:
        table = _as_recipients(recipients.table, with_places=with_places)
        batch = blocking.prepare(index, table)

        def ask() -> Pairs:
            tokens = look_up(*text_buffers(batch.names), index.vocabulary.words, index.vocabulary.joined)
            looked_up = replace(batch, name_codes=index.names.look_up(batch.names), tokens=tokens)
            pairs = blocking.candidate_pairs(index, looked_up, config)
            return Pairs(pairs.rows, pairs.companies)

        def from_text() -> Pairs:
            pairs = blocking.candidate_pairs(index, blocking.prepare(index, table), config)
            return Pairs(pairs.rows, pairs.companies)

        return Question(ask, from_text)

    return put


def _as_companies(table: pa.Table) -> pa.Table:
    count = len(table)
    rows = pa.array(np.arange(count + 1, dtype=np.int32))
    place = [*(whole(table[name]) for name in ("address", "city", "state")), _zip5(table)]
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
    columns = {field.name: pa.nulls(len(table), field.type) for field in schema.RECIPIENT}
    columns |= {name: whole(table[name]) for name in ("name", "alternate_names")}
    columns |= {"source_row": pa.array(np.arange(1, len(table) + 1)), "recipient_id": whole(table["id"])}
    if with_places:
        columns |= {"address_line_1": whole(table["address"]), "zip5": _zip5(table)}
        columns |= {name: whole(table[name]) for name in ("city", "state")}
    return pa.table([columns[name] for name in schema.RECIPIENT.names], schema=schema.RECIPIENT)


def _zip5(table: pa.Table) -> pa.Array:
    return pc.utf8_slice_codeunits(whole(table["zip"]), 0, 5)


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


def _unit_rows(counts: Any, weights: npt.NDArray[np.float32]) -> Any:
    """The counts weighted, every row of length 1. No row may be empty."""
    counts.data *= weights[counts.indices]
    norms = np.sqrt(np.add.reduceat(counts.data**2, counts.indptr[:-1]))
    counts.data /= np.repeat(norms, np.diff(counts.indptr))
    return counts


def build_grams(companies: Side, scratch: Path) -> Index:
    """Grams weighed by the companies' names alone: a worker sees but a chunk of the recipients."""
    from sparse_dot_topn import sp_matmul_topn

    del scratch
    counts = gram_counts(companies.names)
    bearers = np.bincount(counts.indices, minlength=_GRAMS)
    weights = (np.log((1 + len(companies.names)) / (1 + bearers)) + 1).astype(np.float32)
    grams = _unit_rows(counts, weights).T.tocsr()

    def put(recipients: Side) -> Question:
        def ask() -> Pairs:
            asked = _unit_rows(gram_counts(recipients.names), weights)
            best = sp_matmul_topn(asked, grams, top_n=TOP, threshold=MIN_COSINE, n_threads=1)
            rows = np.repeat(np.arange(len(recipients.names)), np.diff(best.indptr))
            return pairs_of_names(companies, recipients, rows, best.indices.astype(np.int64))

        return Question(ask)

    return put


# (c) An inverted join in SQL.

_BUILD_SQL: Final = f"""
create table word as select id, unnest(list_distinct(string_split(name, ' '))) as word from companies;
create table weight as
    select word, log2((select count(*) from companies) / count(*)) as weight,
           count(*) < {COMMON_SHARE} * (select count(*) from companies) as rare
    from word group by word;
create table borne as select id, word, weight, rare from word join weight using (word);
create table total as select id, sum(weight) as total from borne group by id;
"""
_RARE_SQL: Final = """
    select a.id as asked, b.id as found, sum(b.weight) as shared
    from asked_word a join borne b on b.word = a.word where a.rare and b.rare group by all
"""
_ALL_SQL: Final = f"""
    select asked, found, sum(b.weight) as shared
    from (select asked, found from ({_RARE_SQL}))
    join asked_word a on a.id = asked join borne b on b.id = found and b.word = a.word group by all
"""
_ASK_SQL: Final = f"""
with asked_word as materialized (
    select id, word, coalesce(weight, {UNKNOWN_BITS}) as weight, rare
    from (select id, unnest(list_distinct(string_split(name, ' '))) as word from asked) left join weight using (word)
),
asked_total as (select id, sum(weight) as total from asked_word group by id),
shared as ({{shared}})
select asked, found from shared join asked_total a on a.id = asked join total t on t.id = found
where 2 * shared / (a.total + t.total) >= {MIN_OVERLAP}
union select a.id, c.id from asked a join companies c on c.name = a.name
"""


def build_sql(companies: Side, scratch: Path) -> Index:
    """Words of the companies' names as tables in memory; names share what their rare words weigh."""
    return _build_sql(companies, scratch, _RARE_SQL)


def build_sql_exact(companies: Side, scratch: Path) -> Index:
    """The same; pairs that share a rare word share what all of their words weigh."""
    return _build_sql(companies, scratch, _ALL_SQL)


def _build_sql(companies: Side, scratch: Path, shared: str) -> Index:
    import duckdb

    connection = duckdb.connect(config={**OFFLINE, "threads": 1, "temp_directory": str(scratch)})
    connection.from_arrow(_numbered(companies.names)).create("companies")
    connection.execute(_BUILD_SQL)

    def put(recipients: Side) -> Question:
        def ask() -> Pairs:
            connection.register("asked", _numbered(recipients.names))
            found = connection.sql(_ASK_SQL.format(shared=shared)).to_arrow_table()
            return pairs_of_names(companies, recipients, found["asked"].to_numpy(), found["found"].to_numpy())

        return Question(ask)

    return put


def _numbered(names: pa.Array) -> pa.Table:
    return pa.table({"id": np.arange(len(names)), "name": names})


# (d) Every pair of a block.


def build_blocks(companies: Side, scratch: Path) -> Index:
    """The companies' names by their first two letters."""
    from rapidfuzz import fuzz, process

    del scratch
    texts = companies.names.to_pylist()
    blocks = {start: ([texts[at] for at in members], members) for start, members in _by_start(companies.names).items()}

    def put(recipients: Side) -> Question:
        asked_texts = recipients.names.to_pylist()

        def ask() -> Pairs:
            asked, found = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
            for start, members in _by_start(recipients.names).items():
                if start not in blocks:
                    continue
                choices, numbers = blocks[start]
                ratios = process.cdist(
                    [asked_texts[at] for at in members],
                    choices,
                    scorer=fuzz.token_set_ratio,
                    score_cutoff=MIN_TOKEN_SET_RATIO,
                    dtype=np.uint8,
                    workers=1,
                )
                rows, columns = np.nonzero(ratios)
                asked.append(members[rows])
                found.append(numbers[columns])
            return pairs_of_names(companies, recipients, np.concatenate(asked), np.concatenate(found))

        return Question(ask)

    return put


def _by_start(names: pa.Array) -> dict[str, Ints]:
    encoded = pc.dictionary_encode(pc.utf8_slice_codeunits(names, 0, 2))
    codes = encoded.indices.to_numpy().astype(np.int64)
    starts = starts_of(codes, len(encoded.dictionary))
    return dict(
        zip(encoded.dictionary.to_pylist(), np.split(np.argsort(codes, kind="stable"), starts[1:-1]), strict=True)
    )


KERNELS: Final = {
    "ours": Kernel(
        "weighted words, block filter, symmetric deletes",
        "blocking.candidate_pairs with default settings, compiled; needs the more overlap the less the places support",
        ("numba", "numpy"),
        build_ours,
    ),
    "ours-by-name": Kernel(
        "the same without places",
        "the same for recipients without state, city and ZIP code: common words lead nowhere, overlap from 0.7 on",
        ("numba", "numpy"),
        build_ours_by_name,
    ),
    "grams": Kernel(
        "3-gram TF-IDF, sparse_dot_topn",
        f"cosine from {MIN_COSINE} on, best {TOP} names of each name, float32",
        ("sparse_dot_topn", "scipy"),
        build_grams,
    ),
    "sql": Kernel(
        "inverted join on rare words, DuckDB",
        f"rare words (borne by less than {COMMON_SHARE:.1%} of names) that two names share make up {MIN_OVERLAP} of "
        "the weight of both or more; and equal names",
        ("duckdb",),
        build_sql,
    ),
    "sql-exact": Kernel(
        "the same, overlap of all words",
        "of names that share a rare word, the common words count, too",
        ("duckdb",),
        build_sql_exact,
    ),
    "blocks": Kernel(
        "token_set_ratio, rapidfuzz cdist",
        f"every pair with the same first two letters, ratio from {MIN_TOKEN_SET_RATIO} on",
        ("rapidfuzz",),
        build_blocks,
        sampled=True,
    ),
}
