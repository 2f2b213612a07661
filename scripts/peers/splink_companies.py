"""Splink linking companies: a model for company names and American addresses, trained without labels.

Names are one comparison: equality (with term frequencies), Jaro-Winkler similarity, and the shared information content
of their words (the logarithm of a word's rarity), so that TECHNOLOGIES counts less than a coined name. ZIP code, city
and state are one comparison, because they depend on each other; the street is another. u is estimated from random
pairs, m by expectation maximisation, blocked once on the name and once on the ZIP code. Runs in DuckDB on all cores.

Identical pairs of records have equal weights: the first recipient is taken. Every name of an organisation is a separate
record. A training session without pairs leaves Splink's initial values.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import logging
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import splink.comparison_level_library as levels
import splink.comparison_library as comparisons
from splink import DuckDBAPI, Linker, SettingsCreator, block_on
from splink.blocking_rule_library import CustomRule
from splink.internals.exceptions import EMTrainingException

from scripts.peers.answers import Floats, Ints
from scripts.peers.methods import nothing_found, plain_names

MAX_RARE_NAMES: Final = 200
"""Two names that share a word of at most so many recipients are compared."""
RANDOM_PAIRS: Final = 5_000_000
TRAINING_PAIRS: Final = 2_000_000
MIN_WEIGHT: Final = -10.0
"""Match weight below which a pair is no candidate."""
SEED: Final = 1

# Companies move, but training alone would treat every pair in two places as a non-match, as nearly all of them are.
_MOVED: Final[dict[str, Any]] = {"m_probability": 0.03, "fix_m_probability": True}
# So rare among random pairs that none may be sampled.
_SAME_LETTERS_BY_CHANCE: Final = 1e-7

_LEFT, _RIGHT = "a_companies", "b_recipients"
_WORD = pa.struct([("word", pa.string()), ("bits", pa.float64())])
_DIRECTIONS = frozenset({"N", "S", "E", "W", "NE", "NW", "SE", "SW", "NORTH", "SOUTH", "EAST", "WEST"})
_SAME_WORDS = "CREATE MACRO shared_bits(a, b) AS list_sum(list_transform(list_intersect(a, b), lambda w: w.bits))"


def prepare(left: pa.Table, right: pa.Table) -> Callable[[pa.Table], tuple[Ints, Floats]]:
    """Train the model on both tables."""
    connection = duckdb.connect()
    connection.execute(_SAME_WORDS)
    api = DuckDBAPI(connection)
    names_with = Counter(word for name in plain_names(right) for word in set(name.split()))
    tables = [
        api.register(_records(side, names_with, len(right)), dataset_display_name=name)
        for side, name in ((left, _LEFT), (right, _RIGHT))
    ]
    linker = Linker(tables, _settings(), log_level=logging.WARNING)
    _train(linker)
    row_of = {key: row for row, key in enumerate(zip(left["id"].to_pylist(), left["name"].to_pylist(), strict=True))}

    def search(block: pa.Table) -> tuple[Ints, Floats]:
        best, weight = _best(linker, connection, len(left))
        rows = [row_of[key] for key in zip(block["id"].to_pylist(), block["name"].to_pylist(), strict=True)]
        return best[rows], weight[rows]

    return search


def _best(linker: Any, connection: duckdb.DuckDBPyConnection, count: int) -> tuple[Ints, Floats]:
    """The row of the best recipient of each company, or ``NONE``, and its match weight."""
    pairs = linker.inference.predict(threshold_match_weight=MIN_WEIGHT).physical_name
    rows = connection.execute(
        f"SELECT unique_id_l, arg_max(unique_id_r, (match_weight, -unique_id_r)), max(match_weight) FROM {pairs} "
        f"WHERE source_dataset_l = '{_LEFT}' GROUP BY unique_id_l"
    ).fetchnumpy()
    queried, found, weights = map(np.asarray, rows.values())
    best, weight = nothing_found(count)
    best[queried], weight[queried] = found, weights
    return best, weight


def _settings() -> SettingsCreator:
    return SettingsCreator(
        link_type="link_only",
        comparisons=[_name_comparison(), _place_comparison(), _street_comparison()],
        blocking_rules_to_generate_predictions=[
            block_on("name_clean"),
            block_on("joined"),
            block_on("zip5", "substr(name_clean, 1, 3)"),
            block_on("first_word", "state"),
            block_on("substr(joined, 1, 8)"),
            CustomRule("l.rare_words = r.rare_words", arrays_to_explode=["rare_words"]),
        ],
        retain_matching_columns=False,
    )


def _name_comparison() -> Any:
    # The share of the information content of the longer name that the other has as well.
    shared = "coalesce(shared_bits(words_l, words_r), 0) / greatest(bits_l, bits_r)"
    return comparisons.CustomComparison(
        output_column_name="name",
        comparison_levels=[
            levels.NullLevel("name_clean"),
            levels.ExactMatchLevel("name_clean", term_frequency_adjustments=True),
            levels.CustomLevel("joined_l = joined_r", label_for_charts="same letters").configure(
                u_probability=_SAME_LETTERS_BY_CHANCE, fix_u_probability=True
            ),
            levels.JaroWinklerLevel("name_clean", 0.95),
            levels.CustomLevel(f"{shared} >= 0.8", label_for_charts="nearly all words"),
            levels.JaroWinklerLevel("name_clean", 0.9),
            levels.CustomLevel(f"{shared} >= 0.5", label_for_charts="most words"),
            levels.ElseLevel(),
        ],
    )


def _place_comparison() -> Any:
    missing = "(zip5_l IS NULL OR zip5_r IS NULL) AND (state_l IS NULL OR state_r IS NULL)"
    return comparisons.CustomComparison(
        output_column_name="place",
        comparison_levels=[
            levels.CustomLevel(missing, label_for_charts="unknown").configure(is_null_level=True),
            levels.ExactMatchLevel("zip5"),
            levels.CustomLevel("city_l = city_r AND state_l = state_r", label_for_charts="same city"),
            levels.CustomLevel("substr(zip5_l, 1, 3) = substr(zip5_r, 1, 3)", label_for_charts="same region"),
            levels.CustomLevel("state_l = state_r", label_for_charts="same state").configure(**_MOVED),
            levels.ElseLevel().configure(**_MOVED),
        ],
    )


def _street_comparison() -> Any:
    return comparisons.CustomComparison(
        output_column_name="street",
        comparison_levels=[
            levels.NullLevel("street"),
            levels.ExactMatchLevel("street"),
            levels.CustomLevel("house_l = house_r", label_for_charts="same number and first word"),
            levels.ElseLevel(),
        ],
    )


def _train(linker: Any) -> None:
    training = linker.training
    training.estimate_probability_two_random_records_match([block_on("name_clean")], recall=0.7)
    training.estimate_u_using_random_sampling(max_pairs=RANDOM_PAIRS, seed=SEED)
    for rule in (block_on("name_clean"), block_on("zip5")):
        try:
            training.estimate_parameters_using_expectation_maximisation(rule, max_pairs=TRAINING_PAIRS)
        except EMTrainingException as error:
            print(f"Training session skipped: {error}", file=sys.stderr)


def _records(side: pa.Table, names_with: Counter[str], recipients: int) -> pa.Table:
    """The columns of the model, one record per name. ``names_with``: recipients' names that contain each word."""
    names = plain_names(side)
    words = [sorted(set(name.split())) for name in names]
    bits = [[math.log2(recipients / max(1, names_with[word])) for word in some] for some in words]
    streets = [_plain(text).split() for text in side["address"].to_pylist()]
    zips = [(text or "")[:5] for text in side["zip"].to_pylist()]
    weighted = [
        [{"word": word, "bits": weight} for word, weight in zip(*pair, strict=True)]
        for pair in zip(words, bits, strict=True)
    ]
    return pa.table(
        {
            "unique_id": pa.array(range(len(names)), pa.int64()),
            "name_clean": _text(names),
            "joined": _text([name.replace(" ", "") for name in names]),
            "first_word": _text([name.partition(" ")[0] for name in names]),
            "words": pa.array(weighted, pa.list_(_WORD)),
            "bits": pa.array([max(sum(some), 1.0) for some in bits], pa.float64()),
            "rare_words": pa.array(
                [[word for word in some if names_with[word] <= MAX_RARE_NAMES] for some in words], pa.list_(pa.string())
            ),
            "city": _text([_plain(text) for text in side["city"].to_pylist()]),
            "state": _text([(text or "").strip().upper() for text in side["state"].to_pylist()]),
            "zip5": _text([text if text.isdigit() and len(text) == 5 else "" for text in zips]),
            "street": _text([" ".join(words) for words in streets]),
            "house": _text([_house(words) for words in streets]),
        }
    )


def _house(words: Sequence[str]) -> str:
    """The house number and the first word of the street's name; empty without a number."""
    if not words or not words[0][0].isdigit():
        return ""
    rest = [word for word in words[1:] if word not in _DIRECTIONS]
    return " ".join([words[0], *rest[:1]])


def _plain(text: str | None) -> str:
    return re.sub(r"[^A-Z0-9]+", " ", (text or "").upper()).strip()


def _text(texts: Sequence[str]) -> pa.Array:
    return pa.array([text or None for text in texts], pa.string())
