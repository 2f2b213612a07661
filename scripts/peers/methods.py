"""The peers in the order of the table, each as a function from both tables to a search.

The search receives a block of companies, one row per name, and returns for each row the best recipient row (or
``NONE``) and its score. Libraries are imported where they are used, so that a process contains only those of its peer.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from scripts.peers.answers import NONE, Floats, Ints

Search = Callable[[pa.Table], tuple[Ints, Floats]]

CUT_OFF: Final = 75
"""Minimum token_set_ratio of a candidate."""
MIN_SIMILARITY: Final = 0.5
"""Minimum cosine of a candidate."""
PREFIX: Final = 2
CELLS: Final = 20_000_000
"""Scores that are in memory at once."""
LEGAL_FORMS: Final = frozenset(
    {"INC", "INCORPORATED", "CORP", "CORPORATION", "CO", "COMPANY", "LLC", "PLLC", "LLP", "LP", "LTD", "LIMITED", "PC"}
)


@dataclass(frozen=True)
class Peer:
    """A method to compare with.

    ``threshold``: minimum score that the method itself accepts. ``block_rows``: names per block, None for all.
    ``pair_budget``: maximum number of name comparisons; a method that compares every pair then receives a random part
    of the companies. ``environment``: name of the virtual environment with its libraries.
    """

    title: str
    how: str
    prepare: Callable[[pa.Table, pa.Table], Search]
    libraries: tuple[str, ...]
    threshold: float
    block_rows: int | None = None
    pair_budget: int | None = None
    environment: str = "peers"


def plain_name(name: str | None) -> str:
    """Return a simple normal form, as a user of a peer without one would write it.

    ASCII upper case, letters and digits only, without THE and legal forms; a name of nothing else keeps its words. This
    is not the normal form of ``enrich_dist``: spaced initials, HTML entities and rare forms stay as they are.
    """
    text = unicodedata.normalize("NFKD", name or "").encode("ascii", "ignore").decode().upper()
    text = re.sub(r"(?<=\b[A-Z])\.(?=[A-Z]\b)", "", text.replace("&", " AND ").replace("'", ""))
    words = re.sub(r"[^A-Z0-9]+", " ", text).split()
    kept = words[1:] if len(words) > 1 and words[0] == "THE" else words
    while kept and kept[-1] in LEGAL_FORMS:
        kept = kept[:-1]
    return " ".join(kept or words)


def plain_names(table: pa.Table) -> list[str]:
    """Return the normal forms of a table's names; empty where there is no name."""
    return [plain_name(name) for name in table["name"].to_pylist()]


def nothing_found(count: int) -> tuple[Ints, Floats]:
    """Return arrays to fill with rows and scores."""
    return np.full(count, NONE, dtype=np.int64), np.zeros(count)


def exact_name(_: pa.Table, right: pa.Table) -> Search:
    """Score 1 where one recipient has the name, 0.5 where several do; the first of those is taken."""
    ids = right["id"].to_pylist()
    first: dict[str, int] = {}
    shared: set[str] = set()
    for row, name in enumerate(plain_names(right)):
        if first.setdefault(name, row) != row and ids[first[name]] != ids[row]:
            shared.add(name)
    first.pop("", None)

    def search(block: pa.Table) -> tuple[Ints, Floats]:
        names = plain_names(block)
        found = np.array([first.get(name, NONE) for name in names], dtype=np.int64)
        return found, np.array([0.5 if name in shared else 1.0 for name in names])

    return search


def token_set(_: pa.Table, right: pa.Table) -> Search:
    """Compare every company with every recipient; equal scores are common, and the first recipient is taken."""
    choices = plain_names(right)
    return lambda block: _best_by_token_set(plain_names(block), choices)


def token_set_prefix(_: pa.Table, right: pa.Table) -> Search:
    """Compare companies and recipients whose names begin with the same two letters."""
    choices = plain_names(right)
    rows_of = _by_prefix(choices)

    def search(block: pa.Table) -> tuple[Ints, Floats]:
        names = plain_names(block)
        found, scores = nothing_found(len(names))
        for prefix, members in _by_prefix(names).items():
            rows = rows_of.get(prefix, [])
            if not rows or not prefix:
                continue
            step = max(1, CELLS // len(rows))
            for start in range(0, len(members), step):
                part = members[start : start + step]
                best, scores[part] = _best_by_token_set([names[row] for row in part], [choices[row] for row in rows])
                found[part] = np.where(best == NONE, NONE, np.asarray(rows)[best])
        return found, scores

    return search


def _best_by_token_set(names: list[str], choices: list[str]) -> tuple[Ints, Floats]:
    from rapidfuzz import fuzz, process

    ratios = process.cdist(
        names, choices, scorer=fuzz.token_set_ratio, score_cutoff=CUT_OFF, workers=-1, dtype=np.float32
    )
    best = np.argmax(ratios, axis=1)
    scores = ratios[np.arange(len(names)), best].astype(np.float64)
    return np.where(scores > 0, best, NONE).astype(np.int64), scores


def _by_prefix(names: list[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        groups[name[:PREFIX]].append(row)
    return dict(groups)


def tfidf(left: pa.Table, right: pa.Table) -> Search:
    """Take the nearest recipient by cosine of 3-grams, weighed by the names of both sides, on all cores."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sparse_dot_topn import sp_matmul_topn

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32, lowercase=False)
    right_names = plain_names(right)
    vectorizer.fit(plain_names(left) + right_names)
    grams = vectorizer.transform(right_names).T.tocsr()

    def search(block: pa.Table) -> tuple[Ints, Floats]:
        rows = vectorizer.transform(plain_names(block))
        best = sp_matmul_topn(rows, grams, top_n=1, threshold=MIN_SIMILARITY, n_threads=os.cpu_count() or 1)
        found, scores = nothing_found(len(block))
        has_match = np.diff(best.indptr) > 0
        found[has_match], scores[has_match] = best.indices, best.data
        return found, scores

    return search


def string_grouper(_: pa.Table, right: pa.Table) -> Search:
    """Call ``match_strings`` with one match per company, from a lower similarity on, so that scores can be swept."""
    import pandas as pd
    from string_grouper import match_strings

    names = pd.Series(right["name"].to_pylist())

    def search(block: pa.Table) -> tuple[Ints, Floats]:
        # The limit holds per row of the first table, which therefore must be the companies.
        matches = match_strings(
            pd.Series(block["name"].to_pylist()),
            names,
            master_id=pd.Series(range(len(block))),
            duplicates_id=pd.Series(range(len(names))),
            ignore_index=True,
            max_n_matches=1,
            min_similarity=MIN_SIMILARITY,
        )
        found, scores = nothing_found(len(block))
        rows = matches["left_id"].to_numpy(np.int64)
        found[rows] = matches["right_id"].to_numpy(np.int64)
        scores[rows] = matches["similarity"].to_numpy(np.float64)
        return found, scores

    return search


def name_matching(_: pa.Table, right: pa.Table) -> Search:
    """Use ``NameMatcher`` on one core, the only way it has; ``number_of_rows`` bounds its memory."""
    import pandas as pd
    from name_matching.name_matcher import NameMatcher

    def frame(table: pa.Table) -> Any:
        return pd.DataFrame({"name": table["name"].to_pylist()})

    matcher = NameMatcher(
        legal_suffixes=True, top_n=50, number_of_rows=max(1, CELLS // len(right)), number_of_matches=1, verbose=False
    )
    matcher.load_and_process_master_data("name", frame(right), transform=True)

    def search(block: pa.Table) -> tuple[Ints, Floats]:
        matches = matcher.match_names(frame(block), "name")
        return matches["match_index"].to_numpy().astype(np.int64), matches["score"].to_numpy().astype(np.float64)

    return search


def splink(left: pa.Table, right: pa.Table) -> Search:
    """Train the model of ``splink_companies``."""
    from scripts.peers.splink_companies import prepare

    return prepare(left, right)


def emm(left: pa.Table, right: pa.Table) -> Search:
    """Train the model of ``emm_companies``."""
    from scripts.peers.emm_companies import prepare

    return prepare(left, right)


def nomenklatura(algorithm: str) -> Callable[[pa.Table, pa.Table], Search]:
    """Return a peer that scores candidates of nomenklatura's index by one of its algorithms."""

    def prepare_index(_: pa.Table, right: pa.Table) -> Search:
        from scripts.peers.nomenklatura_companies import prepare

        return prepare(algorithm, right)

    return prepare_index


PEERS: Final = {
    "exact": Peer(
        "exact normalised name",
        "equal after upper case, without punctuation and legal forms; score 1 where one recipient has the name, "
        "0.5 where several do (any of them is taken); accepts both",
        exact_name,
        libraries=(),
        threshold=0.5,
    ),
    "token-set": Peer(
        "rapidfuzz token_set_ratio, all pairs",
        f"normalised names, best of all recipients, cut-off {CUT_OFF}; accepts at 90",
        token_set,
        libraries=("rapidfuzz",),
        threshold=90.0,
        block_rows=50,
        pair_budget=60_000_000,
    ),
    "token-set-prefix": Peer(
        "rapidfuzz token_set_ratio, same first two letters",
        "the same, only among recipients whose normalised name begins with the same two letters",
        token_set_prefix,
        libraries=("rapidfuzz",),
        threshold=90.0,
        block_rows=2_000,
    ),
    "tfidf": Peer(
        "TF-IDF + sparse_dot_topn",
        f"character 3-grams of normalised names, best cosine from {MIN_SIMILARITY} on; accepts at 0.8",
        tfidf,
        libraries=("scikit-learn", "sparse_dot_topn"),
        threshold=0.8,
        block_rows=10_000,
    ),
    "string-grouper": Peer(
        "string_grouper",
        f"match_strings on names as they are, best one from {MIN_SIMILARITY} on; accepts at its default 0.8",
        string_grouper,
        libraries=("string_grouper", "pandas"),
        threshold=0.8,
    ),
    "name-matching": Peer(
        "name_matching",
        "NameMatcher with legal suffixes, its default metrics on 50 candidates; it has no threshold, accepts at 90",
        name_matching,
        libraries=("name_matching", "pandas"),
        threshold=90.0,
        block_rows=100,
        pair_budget=60_000_000,
    ),
    "splink": Peer(
        "Splink, company model",
        "DuckDB; blocked on name, first word, rare words and place; names by Jaro-Winkler and rarity of shared "
        "words with term frequencies, place, street; u by sampling, m by EM; best weight; accepts at probability 0.95",
        splink,
        libraries=("splink", "duckdb"),
        threshold=4.2479,  # match weight of probability 0.95: log2(0.95 / 0.05)
    ),
    "emm": Peer(
        "emm (Entity Matching Model)",
        "cosine of 2-grams and of words, sorted neighbourhood; classifier trained on names of the right table with "
        "its own noise, half of them without a match; accepts at 0.5",
        emm,
        libraries=("emm", "pandas"),
        threshold=0.5,
        environment="emm",
    ),
    **{
        f"nomenklatura-{algorithm}": Peer(
            f"nomenklatura, {algorithm}",
            f"companies with name and address, candidates of its index, {algorithm} with its defaults; accepts at 0.7, "
            "the default of OpenSanctions",
            nomenklatura(algorithm),
            libraries=("nomenklatura", "followthemoney", "rigour"),
            threshold=0.7,
            block_rows=200,
            environment="nomenklatura",
        )
        for algorithm in ("logic-v2", "regression-v1")
    },
}
