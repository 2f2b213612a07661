"""How right the links are where the truth is planted, and how honest their probabilities.

Identifiers are hidden. The floors lie a little below what was measured. A change that makes matching worse fails here;
one that makes it better may raise the floors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.matching.decisions import SAME_PLACE
from enrich_dist.pipeline.linking import link
from scripts.generator.generate import write_awards, write_common_names, write_recipients
from tests.conftest import REPOSITORY

SAMPLE = REPOSITORY / "data" / "sample" / "recipients.parquet"
RECIPIENTS, COMPANIES = 20_000, 3_000
IDENTIFIERS = ("uei", "duns")
RECIPIENT_COLUMNS = {
    "recipient_hash": "id", "legal_business_name": "name", "address_line_1": "address", "city": "city",
    "state": "state", "zip5": "zip", "alternate_names": "alternate_names",
}  # fmt: skip
BINS = 10


@dataclass(frozen=True)
class Linked:
    """The best right one of every left one that has any, whether it is accepted, and what is estimated of the links."""

    right_ids: Mapping[str, str]
    probabilities: Mapping[str, float]
    accepted: frozenset[str]
    by_address: frozenset[str]
    estimated: Mapping[str, Any]

    def share(self, left_ids: list[str], right: Mapping[str, set[str]] | None = None) -> float:
        """Of these left ones the share that is accepted (``right``: and with a right one)."""
        taken = [key for key in left_ids if key in self.accepted]
        if right is not None:
            taken = [key for key in taken if self.right_ids[key] in right[key]]
        return len(taken) / len(left_ids)


def run(folder: Path, left: pa.Table, right: pa.Table) -> Linked:
    """Link the tables at the default threshold; every candidate is shown."""
    for name, table in (("left", left), ("right", right)):
        pq.write_table(table, folder / f"{name}.parquet")
    summary = link(
        folder / "left.parquet", folder / "right.parquet", folder / "links.parquet", left_columns={}, right_columns={},
        candidates=CandidateConfig(), decision=DecisionConfig(review_probability=0.0), with_review=True,
    )  # fmt: skip
    rows = pq.read_table(folder / "links.parquet").to_pylist()
    return Linked(
        right_ids={row["left_id"]: row["right_id"] for row in rows},
        probabilities={row["left_id"]: row["probability"] for row in rows},
        accepted=frozenset(row["left_id"] for row in rows if row["status"] == "matched"),
        by_address=frozenset(row["left_id"] for row in rows if row["method"] == SAME_PLACE),
        estimated=summary.accuracy,
    )


def calibration_error(predicted: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """Mean distance of probability and truth over bins of equal width (Naeini, Cooper and Hauskrecht 2015)."""
    bins = np.minimum((predicted * BINS).astype(int), BINS - 1)
    total = 0.0
    for number in range(BINS):
        inside = bins == number
        if inside.any():
            total += inside.sum() * abs(predicted[inside].mean() - right[inside].mean())
    return float(total / len(predicted))


# --- planted truth ---------------------------------------------------------------------------------------------

# Names written otherwise, but still those of the partner.
VARIANTS = {"cut", "typo", "joined", "inflection", "order", "trade_name", "word_added", "word_dropped"}


@dataclass(frozen=True)
class Planted:
    """Links of generated companies, and the truth by company."""

    links: Linked
    truth: Mapping[str, dict[str, Any]]

    @property
    def acceptable(self) -> dict[str, set[str]]:
        """The right recipients of each company, none for one without a partner."""
        return {company: set(known["acceptable"]) for company, known in self.truth.items()}

    @property
    def partners(self) -> list[str]:
        return [company for company, right in self.acceptable.items() if right]

    @property
    def strangers(self) -> list[str]:
        return [company for company, right in self.acceptable.items() if not right]

    @property
    def findable(self) -> list[str]:
        """Those with a partner that name and place single out."""
        return [company for company, known in self.truth.items() if known["findable"]]

    @property
    def right(self) -> dict[str, bool]:
        """Whether the best candidate is right, of each company that has one."""
        acceptable = self.acceptable
        return {company: found in acceptable[company] for company, found in self.links.right_ids.items()}


@pytest.fixture(scope="module", params=[1, 4], ids=["seed-1", "seed-4"])
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder, seed = tmp_path_factory.mktemp("planted"), request.param
    recipients, truth, organisations = (folder / f"{name}.parquet" for name in ("recipients", "truth", "organisations"))
    write_recipients(recipients, rows=RECIPIENTS, seed=seed, sample=SAMPLE)
    write_awards(
        folder / "awards.csv", recipients=recipients, companies=COMPANIES, seed=seed, truth=truth,
        organisations=organisations,
    )  # fmt: skip
    right = pq.read_table(recipients, columns=list(RECIPIENT_COLUMNS)).rename_columns(RECIPIENT_COLUMNS)
    left = pq.read_table(organisations).drop_columns(list(IDENTIFIERS))
    known = {row["company"]: row for row in pq.read_table(truth).to_pylist()}
    return Planted(run(folder, left, right), known)


def test_case_has_enough_pairs(planted: Planted) -> None:
    assert len(planted.truth) == COMPANIES
    assert len(planted.partners) == pytest.approx(0.7 * COMPANIES, rel=0.01)
    assert 0.75 < len(planted.findable) / len(planted.partners) < 0.95
    assert len(planted.strangers) > 800


def test_accepted_links_are_right(planted: Planted) -> None:
    """Measured with these seeds: 0.990 and 0.990."""
    right = planted.right
    assert np.mean([right[company] for company in planted.links.accepted]) >= 0.985


def test_findable_partners_are_found(planted: Planted) -> None:
    """Measured with five seeds: 0.978 to 0.983 of the findable, 0.850 to 0.858 of all partners."""
    assert planted.links.share(planted.findable, planted.acceptable) >= 0.965
    assert planted.links.share(planted.partners, planted.acceptable) >= 0.835


def test_names_written_otherwise_are_found(planted: Planted) -> None:
    """Measured with these seeds: 0.89 and 0.88."""
    findable = [key for key in planted.findable if VARIANTS & set(planted.truth[key]["kind"].split("+"))]
    assert len(findable) > 60
    assert planted.links.share(findable, planted.acceptable) >= 0.84


def test_companies_without_a_partner_stay_alone(planted: Planted) -> None:
    """Measured with these seeds: up to 0.049, nearly all of them decoys of a similar name in the same town."""
    assert planted.links.share(planted.strangers) <= 0.055
    plain = [company for company in planted.strangers if planted.truth[company]["decoy"] is None]
    assert planted.links.share(plain) <= 0.01


def test_probabilities_are_honest(planted: Planted) -> None:
    """Measured with these seeds: up to 0.034; similar names in one town are right more often than predicted."""
    links, right = planted.links, planted.right
    # Generated firms keep their street when they are renamed, more often than real ones.
    compared = [company for company in links.right_ids if company not in links.by_address]
    predicted = np.array([links.probabilities[company] for company in compared])
    assert calibration_error(predicted, np.array([right[company] for company in compared])) <= 0.04


def test_estimated_precision_is_close(planted: Planted) -> None:
    """Measured with five seeds: 0.011 below it to 0.002 above."""
    right = planted.right
    precision = np.mean([right[company] for company in planted.links.accepted])
    assert planted.links.estimated["precision"]["estimate"] == pytest.approx(precision, abs=0.02)


# --- equal names -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[1, 4], ids=["seed-1", "seed-4"])
def namesakes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Linked, dict[str, str | None]]:
    """Links of records whose names several organisations bear, and the right one, None where nothing decides."""
    folder = tmp_path_factory.mktemp("namesakes")
    write_common_names(folder, sample=SAMPLE, seed=request.param)
    left, right, truth = (pq.read_table(folder / f"{name}.parquet") for name in ("left", "right", "truth"))
    known = {row["left_id"]: row["right_id"] if row["decided"] else None for row in truth.to_pylist()}
    return run(folder, left, right), known


def test_the_place_decides_among_equal_names(namesakes: tuple[Linked, dict[str, str | None]]) -> None:
    """Measured with five seeds: the right one is always the best, 0.951 to 0.999 are accepted."""
    links, known = namesakes
    decided = {key: right for key, right in known.items() if right is not None}
    accepted = [key for key in decided if key in links.accepted]
    assert len(decided) == 700
    assert np.mean([links.right_ids.get(key) == right for key, right in decided.items()]) >= 0.98
    assert [key for key in accepted if links.right_ids[key] != decided[key]] == []
    assert len(accepted) / len(decided) >= 0.93


def test_ambiguous_names_stay_undecided(
    namesakes: tuple[Linked, dict[str, str | None]],
) -> None:
    """Measured with five seeds: 0.013 to 0.033."""
    links, known = namesakes
    undecided = [key for key, right in known.items() if right is None]
    assert len(undecided) == 300
    assert links.share(undecided) <= 0.05
