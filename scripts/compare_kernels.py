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
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.duck import OFFLINE
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
T = TypeVar("T")


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
    """What is timed. ``ask``: from normalised names to pairs. ``from_text``: the same from raw text, if it can be told."""

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
_ASK_SQL: Final = f"""
with asked_word as materialized (
    select id, word, coalesce(weight, {UNKNOWN_BITS}) as weight, rare
    from (select id, unnest(list_distinct(string_split(name, ' '))) as word from asked) left join weight using (word)
),
asked_total as (select id, sum(weight) as total from asked_word group by id),
pair as (
    select distinct a.id as asked, b.id as found
    from asked_word a join borne b on b.word = a.word where a.rare and b.rare
),
shared as (
    select p.asked, p.found, sum(b.weight) as shared
    from pair p join asked_word a on a.id = p.asked join borne b on b.id = p.found and b.word = a.word group by all
)
select asked, found from shared join asked_total a on a.id = asked join total t on t.id = found
where 2 * shared / (a.total + t.total) >= {MIN_OVERLAP}
union select a.id, c.id from asked a join companies c on c.name = a.name
"""


def build_sql(companies: Side, scratch: Path) -> Index:
    """Words of the companies' names as tables in memory."""
    import duckdb

    connection = duckdb.connect(config={**OFFLINE, "threads": 1, "temp_directory": str(scratch)})
    connection.from_arrow(_numbered(companies.names)).create("companies")
    connection.execute(_BUILD_SQL)

    def put(recipients: Side) -> Question:
        def ask() -> Pairs:
            connection.register("asked", _numbered(recipients.names))
            found = connection.sql(_ASK_SQL).to_arrow_table()
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
        "inverted join, DuckDB",
        f"names that share a word borne by less than {COMMON_SHARE:.1%} of names, weighted overlap of all words from "
        f"{MIN_OVERLAP} on; and equal names",
        ("duckdb",),
        build_sql,
    ),
    "blocks": Kernel(
        "token_set_ratio, rapidfuzz cdist",
        f"every pair with the same first two letters, ratio from {MIN_TOKEN_SET_RATIO} on",
        ("rapidfuzz",),
        build_blocks,
        sampled=True,
    ),
}


def main() -> None:
    """Measure the kernels one after the other, print and write what came out."""
    options = _options()
    if options.child:
        _child(options)
        return
    case = read_case(options.case, companies=None, recipients=None, seed=options.seed)
    with tempfile.TemporaryDirectory(prefix="enrich-kernels-") as name:
        scratch = Path(name)
        right = case.right.slice(0, options.recipients)  # shuffled already
        pq.write_table(case.left, scratch / "left.parquet")
        pq.write_table(right, scratch / "right.parquet")
        rows = []
        for kernel in options.only or KERNELS:
            print(f"{kernel} ...", file=sys.stderr, flush=True)
            rows.append(_measured(kernel, scratch, options, Truth.of(case.known, case.left, right)))
    report = {
        "case": options.case.name,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seed": options.seed,
        "companies": len(case.left),
        "recipients": len(right),
        "repeats": options.repeats,
        "kernels": rows,
        "cpu_count": os.cpu_count(),
        "load_average_at_end": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if options.output:
        write_json(options.output, report)
    print(markdown(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", type=Path, required=True, help="directory with organisations, recipients and truth")
    parser.add_argument("--recipients", type=int, default=RECIPIENTS, help=f"random recipients [{RECIPIENTS}]")
    parser.add_argument("--sample", type=int, default=SAMPLE, help=f"of them, where pairs are too many [{SAMPLE}]")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"of which the best counts [{REPEATS}]")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of recipients [1]")
    parser.add_argument("--only", nargs="+", choices=list(KERNELS), metavar="NAME", help=", ".join(KERNELS))
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each kernel [600]")
    parser.add_argument("--output", type=Path, help="JSON file to write the figures to")
    parser.add_argument("--child", choices=list(KERNELS), help=argparse.SUPPRESS)
    return parser.parse_args()


@dataclass(frozen=True)
class Truth:
    """Pairs of rows that belong together, as keys ``recipient * companies + company``, and whose partner is findable.

    ``companies``: rows of the companies that have a partner among the recipients.
    """

    keys: Ints
    companies: Ints
    findable: Ints
    width: int

    @classmethod
    def of(cls, known: Mapping[str, Known], left: pa.Table, right: pa.Table) -> Truth:
        """What is known of the companies, as far as it concerns these recipients."""
        recipient = {identity: row for row, identity in enumerate(right["id"].to_pylist())}
        keys, findable, width = [], [], max(len(left), 1)
        for company, identity in enumerate(left["id"].to_pylist()):
            facts = known[identity]
            keys += [recipient[other] * width + company for other in facts.acceptable if other in recipient]
            findable += [company] if facts.findable else []
        ascending = np.sort(np.array(keys, dtype=np.int64))
        companies = np.unique(ascending % width)
        return cls(ascending, companies, np.intersect1d(companies, np.array(findable, dtype=np.int64)), width)

    def among(self, recipients: int) -> Truth:
        """The part that concerns the first recipients."""
        keys = self.keys[self.keys < recipients * self.width]
        companies = np.unique(keys % self.width)
        return Truth(keys, companies, np.intersect1d(companies, self.findable), self.width)

    def recall(self, pairs: Pairs) -> dict[str, Any]:
        """Share of the companies with a partner of which one is among the pairs."""
        hit = np.intersect1d(self.keys, pairs.recipients * self.width + pairs.companies) % self.width
        return {
            "partners": len(self.companies),
            "findable": len(self.findable),
            "recall": _share(hit, self.companies),
            "recall_findable": _share(hit, self.findable),
        }


def _share(hit: Ints, wanted: Ints) -> float | None:
    return round(float(np.isin(wanted, hit).mean()), 4) if len(wanted) else None


def _measured(name: str, scratch: Path, options: argparse.Namespace, truth: Truth) -> dict[str, Any]:
    """The figures of one kernel, as they go into the JSON."""
    kernel = KERNELS[name]
    row: dict[str, Any] = {"name": name, "title": kernel.title, "how": kernel.how}
    try:
        row["libraries"] = {library: version(library) for library in kernel.libraries}
    except PackageNotFoundError as error:
        return {**row, "end": f"not measured: {error.name} is not installed"}
    count = min(options.recipients, options.sample) if kernel.sampled else options.recipients
    command = [sys.executable, "-m", "scripts.compare_kernels", "--child", name, "--case", scratch]
    command += ["--recipients", str(count), "--repeats", str(options.repeats)]
    # One thread, whatever library would take more.
    alone = {f"{prefix}_NUM_THREADS": "1" for prefix in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    measured = measure(command, cwd=ROOT, timeout=options.timeout, environment={**os.environ, **alone})
    if measured.end != "finished":
        return {**row, "end": measured.end, "said": measured.tail.strip().splitlines()[-1:]}
    found = pq.read_table(scratch / f"{name}.parquet")
    pairs = Pairs(found["recipient"].to_numpy(), found["company"].to_numpy())
    record = json.loads((scratch / f"{name}.json").read_text("utf-8"))
    scale = options.recipients / count
    return {
        **row,
        **record,
        "end": measured.end,
        "asked": count,
        "cpu_seconds_all": round(record["cpu_seconds"] * scale, 3),
        "peak_mb": round(measured.peak_bytes / MB),
        "pairs": len(found),
        "pairs_per_recipient": round(len(found) / max(count, 1), 3),
        **truth.among(count).recall(pairs),
    }


def _child(options: argparse.Namespace) -> None:
    """Run a kernel in this process and leave its pairs and its figures beside the inputs."""
    scratch: Path = options.case
    pa.set_cpu_count(1)
    companies = Side.of(pq.read_table(scratch / "left.parquet", schema=COLUMNS))
    table = pq.read_table(scratch / "right.parquet", schema=COLUMNS).slice(0, options.recipients)
    with tempfile.TemporaryDirectory(dir=scratch) as own:
        pairs, record = run(KERNELS[options.child], companies, Side.of(table), Path(own), options.repeats)
    pq.write_table(
        pa.table({"recipient": pairs.recipients, "company": pairs.companies}), scratch / f"{options.child}.parquet"
    )
    (scratch / f"{options.child}.json").write_text(json.dumps(record), "utf-8")


def run(
    kernel: Kernel, companies: Side, recipients: Side, scratch: Path, repeats: int
) -> tuple[Pairs, dict[str, float | None]]:
    """Build the index and ask it, both ``repeats`` times; (pairs, least CPU seconds and memory before)."""
    compile_kernels()  # for all alike, so that memory can be compared
    memory = psutil.Process().memory_info().rss
    builds, asks, wholes = [], [], []
    for number in range(repeats):
        directory = scratch / str(number)
        directory.mkdir()
        seconds, index = _timed(partial(kernel.build, companies, directory))
        builds.append(seconds)
        question = index(recipients)
        seconds, pairs = _timed(question.ask)
        asks.append(seconds)
        if question.from_text:
            wholes.append(_timed(question.from_text)[0])
    return pairs, {
        "build_cpu_seconds": round(min(builds), 3),
        "cpu_seconds": round(min(asks), 3),
        "cpu_seconds_greatest": round(max(asks), 3),
        "cpu_seconds_with_normalising": round(min(wholes), 3) if wholes else None,
        "memory_before_mb": round(memory / MB),
        "names": len(recipients.names),
        "company_names": len(companies.names),
    }


def _timed(function: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of all threads of this process, and what came out."""
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


HEADERS: Final = (
    "kernel",
    "CPU s",
    "times ours",
    "index CPU s",
    "peak MB",
    "of it before",
    "pairs per recipient",
    "recall, findable",
    "recall, all",
)


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a table and what its rows are."""
    kernels: Sequence[Mapping[str, Any]] = report["kernels"]
    ours = next((row.get("cpu_seconds_all") for row in kernels if row["name"] == "ours"), None)
    rows = [HEADERS, ("---", *("---:" for _ in HEADERS[1:])), *(_row(row, ours) for row in kernels)]
    lines = [
        f"{report['case']}: {report['recipients']:,} random recipients against {report['companies']:,} companies; one "
        f"thread, best of {report['repeats']}; {report['cpu_count']} cores, load {report['load_average_at_end']}.",
        "",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
    for row in kernels:
        libraries = ", ".join(f"{name} {number}" for name, number in row.get("libraries", {}).items())
        lines.append(f"- {row['title']} ({libraries or 'library missing'}): {row['how']}.")
        if row.get("partners"):
            lines[-1] += (
                f" Asked: {row['asked']:,} recipients, {row['partners']:,} partners, {row['findable']:,} findable."
            )
        if row.get("cpu_seconds_with_normalising"):
            lines[-1] += f" With normalising and places: {row['cpu_seconds_with_normalising']:.2f} CPU s."
    if any(row.get("asked", report["recipients"]) < report["recipients"] for row in kernels):
        lines += ["", "~ extrapolated in proportion from the recipients that were asked; memory and recall are theirs."]
    return "\n".join(lines)


def _row(row: Mapping[str, Any], ours: float | None) -> Sequence[str]:
    if "cpu_seconds" not in row:
        return (f"{row['title']}: {row['end']}", *("–" for _ in HEADERS[1:]))
    mark = "~" if row["cpu_seconds_all"] != row["cpu_seconds"] else ""
    recalls = [row[name] for name in ("recall_findable", "recall")]
    return (
        row["title"],
        f"{mark}{row['cpu_seconds_all']:.2f}",
        f"{mark}{row['cpu_seconds_all'] / ours:.1f}" if ours else "–",
        f"{row['build_cpu_seconds']:.2f}",
        f"{row['peak_mb']:,}",
        f"{row['memory_before_mb']:,}",
        f"{row['pairs_per_recipient']:.2f}",
        *("–" if value is None else f"{value:.3f}" for value in recalls),
    )


if __name__ == "__main__":
    main()
