"""Compare ways of generating candidate pairs of names: CPU time, pairs and recall on the same names.

    python -m scripts.compare_kernels --case DIRECTORY          a case as ``scripts.peers.cases`` reads it

All companies are indexed, then random recipients are looked up. Every kernel receives the distinct names of both sides
in the project's normal form (legal, alternate and DBA names) and returns pairs of recipient and company. Each runs
several times on one thread; the minimum CPU time counts, because the machine may be busy. Importing and compiling do
not count. A kernel that compares too many pairs receives fewer recipients, so times are per recipient.

Does not cover scoring and decisions (``compare_peers``, ``measure_accuracy``), identifiers, tuning of the other
libraries, or more than one thread. A kernel whose library is missing is skipped.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.core.database import OFFLINE
from enrich_dist.core.tables import markdown_table
from enrich_dist.matching import blocking
from enrich_dist.matching.arrays import Lists, as_array, starts_of, text_buffers
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.index import build_index, open_index
from enrich_dist.matching.kernels.tokens import look_up
from enrich_dist.matching.normalise import split_names
from enrich_dist.matching.vocabulary import COMMON_SHARE
from scripts.measuring import benchmark_parser, machine_facts, show_progress, write_record
from scripts.peers.cases import Known, read_case

MIN_COSINE: Final = 0.6
TOP: Final = 5
MIN_OVERLAP: Final = 0.45
MIN_TOKEN_SET_RATIO: Final = 90
UNKNOWN_BITS: Final = 15.0
"""Weight of a word that no company has, as in ``blocking``."""
RECIPIENTS: Final = 50_000
SAMPLED: Final = 2_000
"""Recipients of a kernel that compares too many pairs."""
REPEATS: Final = 3
SEED: Final = 1
WARM_UP_ROWS: Final = 100

Ints = npt.NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class Side:
    """The distinct names of one table, and ``owners``: the rows of the table that have each name."""

    table: pa.Table
    names: pa.Array
    owners: Lists

    @classmethod
    def of(cls, table: pa.Table) -> Side:
        """Normalise the names of a table in ``scripts.peers.answers.COLUMNS``."""
        alternates = as_array(table["alternate_names"])
        rows = np.concatenate([np.arange(len(table)), pc.list_parent_indices(alternates).to_numpy()])
        split = split_names(pa.concat_arrays([as_array(table["name"]), pc.list_flatten(alternates)]))
        encoded = pc.dictionary_encode(as_array(split["name"]))
        names, codes = encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)
        width = max(len(table), 1)
        keys = np.unique(codes * width + rows[split["row"].to_numpy()])
        return cls(table, names, Lists(starts_of(keys // width, len(names)), keys % width))


@dataclass(frozen=True)
class Pairs:
    """(recipient, company) as rows of their tables, each pair once."""

    recipients: Ints
    companies: Ints


Query = Callable[[], Pairs]
Index = Callable[[Side], Query]
"""From recipients to the query that is timed."""


def pairs_of_names(companies: Side, recipients: Side, queried: Ints, found: Ints) -> Pairs:
    """Return the pairs of rows that have these pairs of names."""
    at, rows = recipients.owners.expand(queried)
    on, others = companies.owners.expand(found[at])
    width = max(len(companies.table), 1)
    keys = np.unique(rows[on].astype(np.int64) * width + others)
    return Pairs(keys // width, keys % width)


def index_ours(companies: Side, scratch: Path) -> Index:
    """``blocking`` as the workers use it, without identifiers."""
    build_index(_company_table(companies.table), scratch)
    index, config = open_index(scratch), CandidateConfig()

    def look_up_side(recipients: Side) -> Query:
        batch = blocking.prepare(index, _recipient_table(recipients.table))

        def query() -> Pairs:
            tokens = look_up(*text_buffers(batch.names), index.vocabulary.words, index.vocabulary.joined)
            looked_up = replace(batch, name_codes=index.names.look_up(batch.names), tokens=tokens)
            pairs = blocking.candidate_pairs(index, looked_up, config)
            return Pairs(pairs.rows, pairs.companies)

        return query

    return look_up_side


def _company_table(table: pa.Table) -> pa.Table:
    count = len(table)
    rows = pa.array(np.arange(count + 1, dtype=np.int32))
    place = [*(as_array(table[name]) for name in ("address", "city", "state")), _zip5(table)]
    none = pa.array([[]] * count, pa.list_(pa.string()))
    columns = {
        "company_id": rows.slice(0, count),
        "company_key": as_array(table["id"]),
        "name": as_array(table["name"]),
        "names": pc.fill_null(as_array(table["alternate_names"]), []),
        "ueis": none,
        "duns": none,
        "locations": pa.ListArray.from_arrays(rows, pa.StructArray.from_arrays(place, fields=list(schema.LOCATION))),
        "award_count": pa.array(np.ones(count, dtype=np.int32)),
    }
    return pa.table([columns[name] for name in schema.COMPANY.names], schema=schema.COMPANY)


def _recipient_table(table: pa.Table) -> pa.Table:
    columns = {field.name: pa.nulls(len(table), field.type) for field in schema.RECIPIENT}
    columns |= {name: as_array(table[name]) for name in ("name", "alternate_names", "city", "state")}
    columns |= {"source_row": pa.array(np.arange(1, len(table) + 1)), "recipient_id": as_array(table["id"])}
    columns |= {"address_line_1": as_array(table["address"]), "zip5": _zip5(table)}
    return pa.table([columns[name] for name in schema.RECIPIENT.names], schema=schema.RECIPIENT)


def _zip5(table: pa.Table) -> pa.Array:
    return pc.utf8_slice_codeunits(as_array(table["zip"]), 0, 5)


def index_grams(companies: Side, scratch: Path) -> Index:
    """Weigh 3-grams by the companies' names alone, because a worker sees one chunk of the recipients."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sparse_dot_topn import sp_matmul_topn

    def padded(side: Side) -> list[str]:
        return pc.binary_join_element_wise("", side.names, "", " ").to_pylist()  # type: ignore[no-any-return]

    del scratch
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(3, 3), dtype=np.float32, lowercase=False)
    grams = vectorizer.fit_transform(padded(companies)).T.tocsr()

    def look_up_side(recipients: Side) -> Query:
        texts = padded(recipients)

        def query() -> Pairs:
            best = sp_matmul_topn(vectorizer.transform(texts), grams, top_n=TOP, threshold=MIN_COSINE, n_threads=1)
            rows = np.repeat(np.arange(len(texts)), np.diff(best.indptr))
            return pairs_of_names(companies, recipients, rows, best.indices.astype(np.int64))

        return query

    return look_up_side


_INDEX_SQL: Final = f"""
create table word as select id, unnest(list_distinct(string_split(name, ' '))) as word from companies;
create table weight as
    select word, log2((select count(*) from companies) / count(*)) as weight,
           count(*) < {COMMON_SHARE} * (select count(*) from companies) as rare
    from word group by word;
create table posting as select id, word, weight, rare from word join weight using (word);
create table total as select id, sum(weight) as total from posting group by id;
"""
_RARE_SQL: Final = """
    select a.id as queried, b.id as found, sum(b.weight) as shared
    from queried_word a join posting b on b.word = a.word where a.rare and b.rare group by all
"""
_ALL_SQL: Final = f"""
    select queried, found, sum(b.weight) as shared
    from (select queried, found from ({_RARE_SQL}))
    join queried_word a on a.id = queried join posting b on b.id = found and b.word = a.word group by all
"""
_QUERY_SQL: Final = f"""
with queried_word as materialized (
    select id, word, coalesce(weight, {UNKNOWN_BITS}) as weight, rare
    from (select id, unnest(list_distinct(string_split(name, ' '))) as word from queried) left join weight using (word)
),
queried_total as (select id, sum(weight) as total from queried_word group by id),
shared as ({{shared}})
select queried, found from shared join queried_total a on a.id = queried join total t on t.id = found
where 2 * shared / (a.total + t.total) >= {MIN_OVERLAP}
union select a.id, c.id from queried a join companies c on c.name = a.name
"""


def index_sql(companies: Side, scratch: Path, *, shared: str) -> Index:
    """Words of the companies' names as tables in memory."""
    import duckdb

    connection = duckdb.connect(config={**OFFLINE, "threads": 1, "temp_directory": str(scratch)})

    def numbered(names: pa.Array) -> pa.Table:
        return pa.table({"id": np.arange(len(names)), "name": names})

    connection.from_arrow(numbered(companies.names)).create("companies")
    connection.execute(_INDEX_SQL)

    def look_up_side(recipients: Side) -> Query:
        def query() -> Pairs:
            connection.register("queried", numbered(recipients.names))
            found = connection.sql(_QUERY_SQL.format(shared=shared)).to_arrow_table()
            return pairs_of_names(companies, recipients, found["queried"].to_numpy(), found["found"].to_numpy())

        return query

    return look_up_side


def index_prefix_blocks(companies: Side, scratch: Path) -> Index:
    """The companies' names by their first two letters."""
    from rapidfuzz import fuzz, process

    del scratch
    blocks = _by_prefix(companies.names)

    def look_up_side(recipients: Side) -> Query:
        def query() -> Pairs:
            queried, found = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
            for prefix, members in _by_prefix(recipients.names).items():
                choices = blocks.get(prefix, np.zeros(0, dtype=np.int64))
                ratios = process.cdist(
                    recipients.names.take(members).to_pylist(),
                    companies.names.take(choices).to_pylist(),
                    scorer=fuzz.token_set_ratio,
                    score_cutoff=MIN_TOKEN_SET_RATIO,
                    dtype=np.uint8,
                    workers=1,
                )
                rows, columns = np.nonzero(ratios)
                queried.append(members[rows])
                found.append(choices[columns])
            return pairs_of_names(companies, recipients, np.concatenate(queried), np.concatenate(found))

        return query

    return look_up_side


def _by_prefix(names: pa.Array) -> dict[str, Ints]:
    encoded = pc.dictionary_encode(pc.utf8_slice_codeunits(names, 0, 2))
    codes = encoded.indices.to_numpy().astype(np.int64)
    members = np.split(np.argsort(codes, kind="stable"), starts_of(codes, len(encoded.dictionary))[1:-1])
    return dict(zip(encoded.dictionary.to_pylist(), members, strict=True))


@dataclass(frozen=True)
class Kernel:
    """A way of generating pairs. ``sampled``: it compares so many pairs that it receives part of the recipients."""

    title: str
    build: Callable[[Side, Path], Index]
    sampled: bool = False


KERNELS: Final = {
    "ours": Kernel("weighted words, block filter, symmetric deletes (numba)", index_ours),
    "grams": Kernel(f"3-gram TF-IDF cosine ≥ {MIN_COSINE}, top {TOP} (sparse_dot_topn)", index_grams),
    "sql": Kernel("inverted join on rare words (DuckDB)", partial(index_sql, shared=_RARE_SQL)),
    "sql-exact": Kernel("the same with the overlap of all words (DuckDB)", partial(index_sql, shared=_ALL_SQL)),
    "blocks": Kernel(
        f"token_set_ratio ≥ {MIN_TOKEN_SET_RATIO} among equal first two letters (rapidfuzz cdist)",
        index_prefix_blocks,
        sampled=True,
    ),
}


def main() -> None:
    """Measure the kernels one after the other, print a table and write a record."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--case", type=Path, required=True, help="directory with organisations, recipients and truth")
    parser.add_argument("--only", nargs="+", choices=list(KERNELS), metavar="NAME", help=", ".join(KERNELS))
    options = parser.parse_args()
    pa.set_cpu_count(1)
    facts = machine_facts()
    case = read_case(options.case, companies=None, recipients=None, seed=SEED)
    companies, rows = Side.of(case.left), []
    for name in options.only or KERNELS:
        show_progress(f"{name} ...")
        count = (SAMPLED if KERNELS[name].sampled else RECIPIENTS) // (10 if options.quick else 1)
        right = case.right.slice(0, count)  # shuffled already
        row = {"name": name, "title": KERNELS[name].title}
        with tempfile.TemporaryDirectory(prefix="enrich-kernels-", dir=options.scratch) as scratch:
            try:
                pairs, seconds = run(KERNELS[name], companies, Side.of(right), Path(scratch), REPEATS)
            except ImportError as error:
                rows.append({**row, "skipped": f"{error.name} is not installed"})
                continue
        rows.append({**row, **figures(pairs, seconds, len(right)), **recall(pairs, case.known, case.left, right)})
    sizes = {"case": case.name, "companies": len(case.left), "seed": SEED, "repeats": REPEATS, "kernels": rows}
    write_record(options.output, "kernels", {**facts, **sizes}, quick=options.quick)
    print(markdown(rows))


def run(
    kernel: Kernel, companies: Side, recipients: Side, scratch: Path, repeats: int
) -> tuple[Pairs, dict[str, float]]:
    """Build the index and query it ``repeats`` times; return the pairs and the minimum CPU seconds of both."""
    few = [Side.of(side.table.slice(0, WARM_UP_ROWS)) for side in (companies, recipients)]
    kernel.build(few[0], _new(scratch / "warm-up"))(few[1])()  # imports and compiles
    index_seconds, query_seconds = [], []
    for number in range(repeats):
        seconds, index = _timed(partial(kernel.build, companies, _new(scratch / str(number))))
        index_seconds.append(seconds)
        seconds, pairs = _timed(index(recipients))
        query_seconds.append(seconds)
    return pairs, {"index_cpu_seconds": min(index_seconds), "cpu_seconds": min(query_seconds)}


def _new(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _timed(function: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of all threads of this process, and the result."""
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


def figures(pairs: Pairs, seconds: Mapping[str, float], recipients: int) -> dict[str, float]:
    """Return times and pairs, per recipient where kernels receive different numbers of recipients."""
    return {
        "recipients": recipients,
        "index_cpu_seconds": round(seconds["index_cpu_seconds"], 3),
        "cpu_microseconds_per_recipient": round(1e6 * seconds["cpu_seconds"] / recipients, 2),
        "pairs_per_recipient": round(len(pairs.recipients) / recipients, 3),
    }


def recall(pairs: Pairs, known: Mapping[str, Known], left: pa.Table, right: pa.Table) -> dict[str, Any]:
    """Return the share of companies with a partner in ``right`` that are paired with one, of all and of findable."""
    recipients = {identity: row for row, identity in enumerate(right["id"].to_pylist())}
    found = set(zip(pairs.companies.tolist(), pairs.recipients.tolist(), strict=True))
    hits: dict[str, list[bool]] = {"all": [], "findable": []}
    for company, identity in enumerate(left["id"].to_pylist()):
        partners = [recipients[other] for other in known[identity].acceptable if other in recipients]
        if not partners:
            continue
        hit = any((company, partner) in found for partner in partners)
        hits["all"].append(hit)
        if known[identity].findable:
            hits["findable"].append(hit)
    return {
        "partners": len(hits["all"]),
        "findable": len(hits["findable"]),
        **{f"recall_{kind}": round(float(np.mean(values)), 4) if values else None for kind, values in hits.items()},
    }


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the document; ``times`` is CPU time compared with this project's kernel."""
    cost = "cpu_microseconds_per_recipient"
    ours = next((row[cost] for row in rows if row["name"] == "ours"), None)
    columns = (cost, "index_cpu_seconds", "pairs_per_recipient", "recall_findable", "recall_all")
    cells = [
        [row["title"] + (f": {row['skipped']}" if "skipped" in row else "")]
        + [f"{row[cost] / ours:.1f}" if ours and cost in row else "–"]
        + ["–" if row.get(column) is None else str(row[column]) for column in columns]
        for row in rows
    ]
    return markdown_table(["kernel", "times", *(column.replace("_", " ") for column in columns)], cells)


if __name__ == "__main__":
    main()
