"""Who takes part, in the order of the table, and the facts about each that hold without importing it.

Covers the peers only; this project's own command is run by ``scripts.compare_peers`` as a user runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Peer:
    """A peer: ``scripts.peers.<module>`` has its ``prepare``.

    ``threshold``: the score from which on it accepts an answer itself. ``block_rows``: names asked at once, None for
    all. ``pair_budget``: at most so many comparisons of names are allowed by default, so that a method that compares
    every pair is asked for a random part of the companies; None for no limit.
    """

    module: str
    title: str
    how: str
    libraries: tuple[str, ...]
    threshold: float
    block_rows: int | None = None
    pair_budget: int | None = None


PEERS: Final = {
    "exact": Peer(
        module="exact_name",
        title="exact normalised name",
        how="equal after upper case, without punctuation and legal forms; score 1 where one recipient bears the name, "
        "0.5 where several do (any of them is taken); accepts both",
        libraries=(),
        threshold=0.5,
    ),
    "token-set": Peer(
        module="token_set",
        title="rapidfuzz token_set_ratio, all pairs",
        how="normalised names, best of all recipients, cut-off 75; accepts at 90",
        libraries=("rapidfuzz",),
        threshold=90.0,
        block_rows=50,
        pair_budget=60_000_000,
    ),
    "token-set-prefix": Peer(
        module="token_set_prefix",
        title="rapidfuzz token_set_ratio, same first two letters",
        how="the same, only among recipients whose normalised name begins with the same two letters",
        libraries=("rapidfuzz",),
        threshold=90.0,
        block_rows=2_000,
    ),
    "tfidf": Peer(
        module="tfidf",
        title="TF-IDF + sparse_dot_topn",
        how="character 3-grams of normalised names, best cosine from 0.5 on; accepts at 0.8",
        libraries=("scikit-learn", "sparse_dot_topn"),
        threshold=0.8,
        block_rows=10_000,
    ),
    "string-grouper": Peer(
        module="grouper",
        title="string_grouper",
        how="match_strings on names as they are, best one from 0.5 on; accepts at its default 0.8",
        libraries=("string_grouper", "pandas"),
        threshold=0.8,
    ),
    "name-matching": Peer(
        module="matcher_of_names",
        title="name_matching",
        how="NameMatcher with legal suffixes, its default metrics on 50 candidates; it has no threshold, accepts at 90",
        libraries=("name_matching", "pandas"),
        threshold=90.0,
        block_rows=100,
        pair_budget=60_000_000,
    ),
    "splink": Peer(
        module="splink_companies",
        title="Splink, company model",
        how="DuckDB; blocked on name, first word, rare words and place; names by Jaro-Winkler and rarity of shared "
        "words with term frequencies, place, street; u by sampling, m by EM; best weight; accepts at probability 0.95",
        libraries=("splink", "duckdb"),
        threshold=4.2479,  # match weight of probability 0.95: log2(0.95 / 0.05)
    ),
}
