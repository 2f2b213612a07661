"""What comparisons weigh, and what follows: weights from counts, methods, and the share of companies with a partner."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from enrich_dist import schema
from enrich_dist.matching import weights as module
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.decisions import (
    MAX_PARTNER_SHARE,
    METHODS,
    MIN_PARTNER_SHARE,
    method_sql,
    partner_share,
    prior_odds,
)
from enrich_dist.matching.index import CompanyIndex, build_index, open_index
from enrich_dist.matching.weight_sql import EQUAL_NAME_IN_TOWN_SQL, limit_sql, weight_row, weight_sql
from enrich_dist.matching.weights import ADDRESS_PRIOR_PAIRS, PRIOR_PAIRS, MCounts, Weights, estimate
from enrich_dist.results.report import model_table
from enrich_dist.schema import MIN_SAME_TOWN, AddressLevel, Agreement, NameKind, NameLevel, PlaceLevel, StreetLevel

RECIPIENTS = 3_000_000
NAMES = ["KITWARE", "KITWARE SYSTEMS", "KITWARE ZYMERGEN", "SYSTEMS", "SYSTEMS GROUP", "ZYMERGEN"]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> CompanyIndex:
    """Companies that bear ``NAMES``; the code of a name is its position there."""
    empty = {"names": [], "ueis": [], "duns": [], "locations": [], "award_count": 1}
    rows = [{"company_id": n, "company_key": str(n), "name": name, **empty} for n, name in enumerate(NAMES)]
    directory = tmp_path_factory.mktemp("index")
    build_index(pa.Table.from_pylist(rows, schema=schema.COMPANY), directory)
    opened = open_index(directory)
    assert opened.names.texts.to_pylist() == NAMES
    return opened


def estimated(index: CompanyIndex, recipients: int = RECIPIENTS, **counted: Any) -> Weights:
    """Weights from counts of recipients that bear words (``words``), of random places, and of identified pairs."""
    concepts = {concept_of(index, word): count for word, count in counted.pop("words", {}).items()}
    counts = {"recipients": {0: recipients}, "concept": concepts, "random_place": counted.pop("random_place", {})}
    return estimate(counts, MCounts(**counted), index.vocabulary)


def concept_of(index: CompanyIndex, word: str) -> int:
    starts, tokens = index.vocabulary.take("name_token_starts", "name_tokens")
    code = next(n for n, name in enumerate(NAMES) if word in name.split())
    return int(tokens[starts[code] + NAMES[code].split().index(word)])


# --- estimates -------------------------------------------------------------------------------------------------


def bits(m: float, u: float) -> float:
    return float(np.log2(m / u))


def test_without_identified_pairs_the_defaults_hold(index: CompanyIndex) -> None:
    weights = estimated(index)

    assert weights.name[NameLevel.NOTHING_IN_COMMON] == pytest.approx(np.log2(module.DEFAULT_NAME_M[0]))
    assert np.exp2(weights.name[1:]).sum() == pytest.approx(1.0)
    known = [
        PlaceLevel.DIFFERENT_STATE,
        PlaceLevel.DIFFERENT_CITY,
        PlaceLevel.SAME_CITY_DIFFERENT_ZIP,
        PlaceLevel.SAME_ZIP,
        PlaceLevel.SAME_CITY_AND_ZIP,
    ]
    for level, m, u in zip(known, module.DEFAULT_PLACE_M, module.DEFAULT_PLACE_U, strict=True):
        assert weights.place[level] == pytest.approx(bits(m, u / sum(module.DEFAULT_PLACE_U)))
    assert weights.unreachable_share == pytest.approx(module.DEFAULT_NAME_M[NameLevel.NOTHING_IN_COMMON])
    assert weights.identified_pairs == 0


def test_prior_and_data_weigh_equally(index: CompanyIndex) -> None:
    pairs, few = int(PRIOR_PAIRS), int(ADDRESS_PRIOR_PAIRS)
    weights = estimated(
        index, name=[*[0] * NameLevel.EQUAL, pairs], place=[0, few, 0, 0, 0, 0, 0, 0], street=[0, few, 0, 0],
        uei=[pairs, 0],
    )  # fmt: skip

    unreachable = module.DEFAULT_NAME_M[0] / 2
    assert weights.name[NameLevel.EQUAL] == pytest.approx(
        np.log2((1 + module.DEFAULT_NAME_M[NameLevel.EQUAL]) / 2 / (1 - unreachable)), abs=0.01
    )
    m, u = (1 + module.DEFAULT_PLACE_M[0]) / 2, module.DEFAULT_PLACE_U[0]
    assert weights.place[PlaceLevel.DIFFERENT_STATE] == pytest.approx(bits(m, u), abs=0.01)
    m, u = (1 + module.DEFAULT_STREET_M[0]) / 2, module.DEFAULT_STREET_U[0]
    assert weights.street[1] == pytest.approx(bits(m, u), abs=0.01)
    assert weights.uei[0] == pytest.approx(np.log2((1 + module.DEFAULT_UEI_M[0]) / 2), abs=0.01)
    assert weights.identified_pairs == pairs


def test_report_shows_how_far_weights_moved(index: CompanyIndex) -> None:
    """Of the shipped values, with what the run counted of different organisations."""
    plain, moved = (
        estimated(index, street=[0, different, 0, 0], uei=[0, uei]).document()
        for different, uei in ((0, 0), (200, 900))
    )
    assert {name: plain[name] for name in plain["shipped"]} == plain["shipped"] == moved["shipped"]

    rows = {tuple(row[:2]): row[2:] for row in model_table(moved).rows}
    assert rows["street", "different street"] == (f"{moved['street'][1]:+.2f}", f"{moved['street'][1] + 3.0:+.2f}")
    assert float(rows["street", "different street"][1]) > 2
    assert rows["place", "different state"][1] == rows["sibling", "numbers differ"][1] == "+0.00"
    assert float(rows["UEI", "agree"][1]) == pytest.approx(0.01, abs=0.01)
    old = {name: value for name, value in moved.items() if name != "shipped"}
    assert {row[3] for row in model_table(old).rows} == {""}


def test_many_pairs_outweigh_the_defaults(index: CompanyIndex) -> None:
    many = 1_000_000
    weights = estimated(
        index, name=[many, *[0] * (NameLevel.EQUAL - 1), many], place=[0, many, 0, 0, 0, 0, 0, many],
        random_place={PlaceLevel.DIFFERENT_STATE: many, PlaceLevel.SAME_CITY_AND_ZIP: many},
    )  # fmt: skip

    assert weights.name[NameLevel.EQUAL] == pytest.approx(0, abs=0.01), "of the names that have something in common"
    assert weights.unreachable_share == pytest.approx(0.5, abs=0.01)
    assert weights.place[PlaceLevel.SAME_CITY_AND_ZIP] == pytest.approx(0, abs=0.01), (
        "half of random pairs agree so, too"
    )


def test_unknown_levels_weigh_nothing(index: CompanyIndex) -> None:
    plain, unknown = estimated(index), estimated(index, place=[900] + 7 * [0], street=[900, 0, 0, 0])

    assert plain.place[0] == plain.street[0] == 0
    assert unknown.place.tolist() == plain.place.tolist()
    assert unknown.street.tolist() == plain.street.tolist()


COUNTED_PLACES = st.lists(st.integers(0, 10_000), min_size=8, max_size=8)


@given(COUNTED_PLACES, COUNTED_PLACES)
def test_partly_known_place_weight(index: CompanyIndex, of_one: list[int], of_two: list[int]) -> None:
    place = estimated(index, place=of_one, random_place=dict(enumerate(of_two))).place

    in_state = place[
        [
            PlaceLevel.DIFFERENT_CITY,
            PlaceLevel.SAME_CITY_DIFFERENT_ZIP,
            PlaceLevel.SAME_ZIP,
            PlaceLevel.SAME_CITY_AND_ZIP,
        ]
    ]
    in_city = place[[PlaceLevel.SAME_CITY_DIFFERENT_ZIP, PlaceLevel.SAME_CITY_AND_ZIP]]
    assert in_state.min() - 1e-9 <= place[PlaceLevel.SAME_STATE] <= in_state.max() + 1e-9
    assert in_city.min() - 1e-9 <= place[PlaceLevel.SAME_CITY] <= in_city.max() + 1e-9
    assert np.isfinite(place).all()


def test_closer_place_weighs_more(index: CompanyIndex) -> None:
    place = estimated(index).place
    nearer = [
        PlaceLevel.DIFFERENT_STATE,
        PlaceLevel.DIFFERENT_CITY,
        PlaceLevel.SAME_CITY_DIFFERENT_ZIP,
        PlaceLevel.SAME_CITY,
        PlaceLevel.SAME_CITY_AND_ZIP,
    ]
    assert all(place[one] < place[other] for one, other in itertools.pairwise(nearer))
    assert (
        place[PlaceLevel.DIFFERENT_STATE]
        < 0
        < place[PlaceLevel.DIFFERENT_CITY]
        < place[PlaceLevel.SAME_STATE]
        < place[PlaceLevel.SAME_CITY]
    )


def test_identifier_weight_grows_with_recipients(index: CompanyIndex) -> None:
    few, many = estimated(index, recipients=1_000), estimated(index, recipients=2_000)
    for one, other in ((few.uei, many.uei), (few.duns, many.duns)):
        assert other[1] == pytest.approx(one[1] + 1)
        assert one[0] < 0 < 15 < one[1]
    assert few.uei[0] < few.duns[0], "a firm has several DUNS numbers sooner than several UEIs"


# --- names -----------------------------------------------------------------------------------------------------


def test_rarer_words_say_more(index: CompanyIndex) -> None:
    said = dict(zip(NAMES, estimated(index, words={"SYSTEMS": 90_000, "GROUP": 60_000}).name_bits, strict=True))

    assert said["KITWARE"] > said["SYSTEMS"] > 0
    assert said["KITWARE SYSTEMS"] == pytest.approx(said["KITWARE"] + said["SYSTEMS"])
    assert said["SYSTEMS"] < said["SYSTEMS GROUP"] < said["KITWARE"]


def test_frequent_word_has_less_information(index: CompanyIndex) -> None:
    said = [estimated(index, words={"KITWARE": count}).name_bits[0] for count in (0, 1, 10, 1_000, RECIPIENTS)]

    assert all(one > other for one, other in itertools.pairwise(said))
    assert said[-1] == pytest.approx(0, abs=0.1), "all bear it"
    said = [estimated(index, recipients=count).name_bits[0] for count in (100, 10_000, 1_000_000)]
    assert all(one < other for one, other in itertools.pairwise(said)), "no other of so many bears it"


@given(st.dictionaries(st.sampled_from(["KITWARE", "SYSTEMS", "GROUP", "ZYMERGEN"]), st.integers(0, 10**7)))
def test_name_information_is_not_negative(index: CompanyIndex, words: dict[str, int]) -> None:
    said = estimated(index, recipients=5, words=words).name_bits
    assert (said >= 0).all()
    assert np.isfinite(said).all()


def test_few_recipients_lean_on_the_background(index: CompanyIndex) -> None:
    """Nobody else bears either word, but SYSTEMS is known to be common."""
    said = dict(zip(NAMES, estimated(index, recipients=10).name_bits, strict=True))
    assert said["KITWARE"] > 2 * said["SYSTEMS"]


# --- weights of vectors ----------------------------------------------------------------------------------------

UNKNOWN: dict[str, Any] = {
    "uei_agreement": 0, "duns_agreement": 0,
    "name_level": NameLevel.NOTHING_IN_COMMON, "name_agreement": 0.0, "name_similarity": 0.0,
    "name_kind": NameKind.LEGAL, "name_code": 0, "state_agreement": 0, "city_agreement": 0, "zip_agreement": 0,
    "sibling_level": 0, "place_level": PlaceLevel.UNKNOWN, "street_level": StreetLevel.UNKNOWN,
    "address_level": AddressLevel.DIFFERENT, "address_companies": 0,
}  # fmt: skip


WEIGHED = pa.schema(
    [
        *schema.COMPARISON,
        pa.field("is_placeless", pa.bool_()),
        pa.field("namesakes", pa.int32()),
    ]
)


def weigh(weights: Weights, vectors: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Weights of comparison vectors of one company as DuckDB computes them in the reduce, and their sum.

    Recipients have a place, and the company one record of its name, unless a vector has other values.
    """
    place = {"is_placeless": False, "namesakes": 1}
    table = pa.Table.from_pylist([{**UNKNOWN, **place, **vector} for vector in vectors], schema=WEIGHED)
    said = pa.array(weights.name_bits[table["name_code"].to_numpy()])
    with duckdb.connect() as connection:
        connection.register("vectors", table.append_column("name_bits", said))
        connection.register("w", pa.Table.from_pylist([weight_row(weights)]))
        parts = ", ".join(f"{expression} as {name}" for name, expression in weight_sql().items())
        compared = f"(select *, bool_or({EQUAL_NAME_IN_TOWN_SQL}) over () as equal_name_in_town from vectors)"
        limits = ", ".join(f"{expression} as {name}" for name, expression in limit_sql().items())
        limited = f"(select compared.*, {limits} from {compared} compared cross join w)"
        rows = connection.sql(f"select {parts} from {limited} cross join w").to_arrow_table().to_pylist()
    return [{**row, "total": sum(row.values())} for row in rows]


def total(weights: Weights, **vector: Any) -> float:
    return weigh(weights, [vector])[0]["total"]


def alike(level: int, agreement: float = 1.0, **vector: Any) -> dict[str, Any]:
    return {"name_level": level, "name_agreement": agreement, **vector}


def test_each_comparison_weighs_by_itself(index: CompanyIndex) -> None:
    weights = estimated(index)
    [part] = weigh(
        weights,
        [
            {
                **alike(NameLevel.EQUAL),
                "place_level": PlaceLevel.DIFFERENT_CITY,
                "uei_agreement": -1,
                "duns_agreement": 1,
            }
        ],
    )

    assert part["place"] == pytest.approx(weights.place[PlaceLevel.DIFFERENT_CITY])
    assert (part["uei"], part["duns"]) == (weights.uei[0], weights.duns[1])
    assert part["street"] == 0
    assert part["uei"] < 0 < part["duns"]
    assert weigh(weights, [{}])[0]["name"] == pytest.approx(weights.name[NameLevel.NOTHING_IN_COMMON])


def test_conflict_lowers_and_agreement_raises(index: CompanyIndex) -> None:
    weights = estimated(index)
    for column in ("uei_agreement", "duns_agreement"):
        conflict, unknown, agree = (total(weights, **alike(NameLevel.EQUAL), **{column: level}) for level in Agreement)
        assert conflict < unknown < agree
    assert total(weights, **alike(NameLevel.EQUAL), place_level=PlaceLevel.DIFFERENT_STATE) < total(
        weights, **alike(NameLevel.EQUAL)
    )
    in_town = {**alike(NameLevel.EQUAL), "place_level": PlaceLevel.SAME_CITY_AND_ZIP}
    by_street = {level: total(weights, **in_town, street_level=level) for level in StreetLevel}
    assert (
        by_street[StreetLevel.DIFFERENT]
        < by_street[StreetLevel.UNKNOWN]
        < by_street[StreetLevel.SIMILAR]
        < by_street[StreetLevel.SAME]
    )


def test_street_counts_in_town_only(index: CompanyIndex) -> None:
    weights = estimated(index)
    for level in PlaceLevel:
        vector = {**alike(NameLevel.EQUAL), "place_level": level, "street_level": StreetLevel.SAME}
        street = weigh(weights, [vector])[0]["street"]
        assert street == (weights.street[StreetLevel.SAME] if level >= MIN_SAME_TOWN else 0)


def test_name_weight_grows_with_agreement(index: CompanyIndex) -> None:
    weights = estimated(index)
    shares = [total(weights, **alike(NameLevel.ADDITIONAL_WORDS, share)) for share in (0.25, 0.5, 0.75, 1.0)]
    assert all(one < other for one, other in itertools.pairwise(shares))
    levels = [
        total(weights, **alike(level))
        for level in (
            NameLevel.NOTHING_IN_COMMON,
            NameLevel.DIFFERENT_WORDS,
            NameLevel.ADDITIONAL_WORDS,
            NameLevel.CONTAINED,
            NameLevel.ADDITIONAL_COMMON_WORDS,
            NameLevel.SPELLING_VARIANT,
        )
    ]
    assert all(one < other for one, other in itertools.pairwise(levels))
    assert total(weights, **alike(NameLevel.EQUAL)) > max(levels)


def test_rare_name_weight_is_limited(index: CompanyIndex) -> None:
    weights = estimated(index, words={"SYSTEMS": 90_000, "GROUP": 60_000})
    by_name = [total(weights, **alike(NameLevel.EQUAL), name_code=code) for code in range(len(NAMES))]
    common, commoner = by_name[NAMES.index("SYSTEMS GROUP")], by_name[NAMES.index("SYSTEMS")]

    assert max(by_name) > common > commoner
    # However many rare words: there may be others of the same name.
    assert by_name[NAMES.index("KITWARE ZYMERGEN")] == pytest.approx(
        weights.name[NameLevel.EQUAL] + module.LEVEL_BITS[NameLevel.EQUAL] + weights.max_name_bits[NameLevel.EQUAL]
    )
    doubled = estimated(index, recipients=2 * RECIPIENTS)
    assert doubled.max_name_bits == pytest.approx(weights.max_name_bits + 1)


@pytest.mark.parametrize("recipients", [50, 20_000, RECIPIENTS])
def test_exact_name_outweighs_typo(index: CompanyIndex, recipients: int) -> None:
    """Where both are in one town, the company is the one of its very name; alone, a typing error weighs as ever."""
    weights, code = estimated(index, recipients=recipients), NAMES.index("KITWARE ZYMERGEN")
    very = {**alike(NameLevel.EQUAL), "name_code": code, "place_level": PlaceLevel.SAME_CITY_AND_ZIP}
    mistyped = {**alike(NameLevel.TYPO, 0.9), "name_code": code, "place_level": PlaceLevel.SAME_CITY_AND_ZIP}

    best, beside = weigh(weights, [very, mistyped])
    [alone] = weigh(weights, [mistyped])

    assert best["total"] > beside["total"] + 1.5
    assert alone["total"] == pytest.approx(beside["total"] + module.EQUAL_NAME_IN_TOWN_BITS)
    elsewhere = weigh(weights, [{**very, "place_level": PlaceLevel.DIFFERENT_CITY}, mistyped])[1]
    assert elsewhere["total"] == pytest.approx(alone["total"])


def test_weight_by_name_kind(index: CompanyIndex) -> None:
    weights = estimated(index)
    legal, alternate, former, parent = (total(weights, **alike(NameLevel.EQUAL), name_kind=kind) for kind in NameKind)
    assert legal > alternate > former > parent


def test_partial_name_in_same_town(index: CompanyIndex) -> None:
    weights = estimated(index)
    for level in (
        NameLevel.DIFFERENT_WORDS,
        NameLevel.ADDITIONAL_WORDS,
        NameLevel.DIFFERENT_COMMON_WORDS,
        NameLevel.CONTAINED,
        NameLevel.ADDITIONAL_COMMON_WORDS,
    ):
        in_town = {**alike(level, 0.5), "place_level": PlaceLevel.SAME_CITY_AND_ZIP}
        *others, same = (weigh(weights, [{**in_town, "street_level": street}])[0]["place"] for street in StreetLevel)
        assert max(others) < same == pytest.approx(weights.place[PlaceLevel.SAME_CITY_AND_ZIP])
    for level in (NameLevel.NOTHING_IN_COMMON, NameLevel.TYPO, NameLevel.SPELLING_VARIANT, NameLevel.EQUAL):
        [part] = weigh(weights, [{**alike(level), "place_level": PlaceLevel.SAME_CITY_AND_ZIP}])
        assert part["place"] == pytest.approx(weights.place[PlaceLevel.SAME_CITY_AND_ZIP])


# --- methods ---------------------------------------------------------------------------------------------------


def methods(vectors: list[dict[str, Any]]) -> list[str]:
    rows = [{**UNKNOWN, **vector} for vector in vectors]
    confirmed = [row.pop("confirmed", False) for row in rows]
    table = pa.Table.from_pylist(rows, schema=schema.COMPARISON).append_column("confirmed", pa.array(confirmed))
    with duckdb.connect() as connection:
        connection.register("vectors", table)
        return [method for (method,) in connection.sql(f"select {method_sql()} from vectors").fetchall()]


@pytest.mark.parametrize(
    ("vector", "method"),
    [
        ({"confirmed": True, "uei_agreement": 1}, "review"),
        ({"uei_agreement": 1, "duns_agreement": -1, "place_level": PlaceLevel.DIFFERENT_STATE}, "uei"),
        ({"uei_agreement": 1, "duns_agreement": 1, "name_level": NameLevel.EQUAL}, "uei"),
        ({"duns_agreement": 1, "uei_agreement": -1}, "duns"),
        ({"name_level": NameLevel.EQUAL, "place_level": PlaceLevel.SAME_CITY_AND_ZIP}, "exact_name_place"),
        ({"name_level": NameLevel.EQUAL, "place_level": PlaceLevel.DIFFERENT_CITY}, "exact_name_place"),
        ({"name_level": NameLevel.EQUAL, "place_level": PlaceLevel.DIFFERENT_STATE}, "exact_name"),
        ({"name_level": NameLevel.EQUAL}, "exact_name"),
        ({"name_level": NameLevel.SPELLING_VARIANT, "place_level": PlaceLevel.SAME_CITY_AND_ZIP}, "fuzzy_name_place"),
        ({"name_level": NameLevel.DIFFERENT_WORDS, "place_level": PlaceLevel.SAME_STATE}, "fuzzy_name_place"),
        ({"name_level": NameLevel.SPELLING_VARIANT}, "fuzzy_name"),
        ({"name_level": NameLevel.NOTHING_IN_COMMON, "address_level": AddressLevel.SAME_STREET}, "same_place"),
        ({"address_level": AddressLevel.SAME, "uei_agreement": 1}, "uei"),
        (
            {"address_level": AddressLevel.SAME, "name_level": NameLevel.ADDITIONAL_WORDS, "name_similarity": 0.5},
            "fuzzy_name",
        ),
        ({"name_level": NameLevel.SPELLING_VARIANT, "place_level": PlaceLevel.DIFFERENT_STATE}, "fuzzy_name"),
    ],
)
def test_method(vector: dict[str, Any], method: str) -> None:
    assert methods([vector]) == [method]


def test_every_method_is_reachable() -> None:
    agreement = (-1, 0, 1)
    vectors = [
        {
            "uei_agreement": uei,
            "duns_agreement": duns,
            "name_level": name,
            "place_level": place,
            "address_level": address,
            "confirmed": confirmed,
        }
        for uei, duns, name, place, address, confirmed in itertools.product(
            agreement, agreement, NameLevel, PlaceLevel, AddressLevel, (False, True)
        )
    ]
    assert set(methods(vectors)) == set(METHODS)


# --- probabilities ---------------------------------------------------------------------------------------------


def mixture(share: float, *, separation: float, companies: int = 20_000) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Odds of companies of which this share has a partner: ratios of two normal densities, so the odds are true."""
    random = np.random.default_rng(7)
    has_partner = random.random(companies) < share
    seen = random.normal(np.where(has_partner, separation, 0.0), 1.0)
    return np.exp(separation * seen - separation**2 / 2)


@pytest.mark.parametrize("separation", [2.0, 4.0, 12.0])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.78])
def test_partner_share_of_a_mixture(share: float, separation: float) -> None:
    assert partner_share(mixture(share, separation=separation)) == pytest.approx(share, abs=0.02)


def test_partner_share_is_mean_probability() -> None:
    odds = mixture(0.4, separation=3.0)
    share = partner_share(odds)
    assert np.mean(share * odds / (share * odds + 1 - share)) == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize(
    ("odds", "share"),
    [([0.0] * 9, MIN_PARTNER_SHARE), ([1e300] * 9, MAX_PARTNER_SHARE), ([1e300] * 5 + [0.0] * 5, 0.5)],
    ids=["no-candidates", "all-certain", "half"],
)
def test_the_share_of_the_certain(odds: list[float], share: float) -> None:
    assert partner_share(np.array(odds)) == pytest.approx(share)


def test_partner_share_without_companies() -> None:
    assert partner_share(np.zeros(0)) == 0.5


@given(st.lists(st.floats(0, 1e200), min_size=1, max_size=50))
def test_partner_share_bounds_and_order(odds: list[float]) -> None:
    share = partner_share(np.array(odds))
    assert MIN_PARTNER_SHARE <= share <= MAX_PARTNER_SHARE
    assert partner_share(np.array(sorted(odds))) == pytest.approx(share, abs=2e-6)


def test_prior_odds_sum_to_share() -> None:
    assert prior_odds(0.75, 1000) * 1000 == pytest.approx(3)


@pytest.mark.parametrize(
    "thresholds",
    [
        {"accept_probability": 0.0},
        {"accept_probability": 1.1},
        {"review_probability": 0.95},
        {"review_probability": -0.1},
        {"accept_probability": 0.3, "review_probability": 0.31},
    ],
)
def test_thresholds_out_of_range_are_refused(thresholds: Mapping[str, float]) -> None:
    with pytest.raises(ValidationError):
        DecisionConfig(**thresholds)
