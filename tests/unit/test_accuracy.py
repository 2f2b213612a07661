"""How right the links are where the truth is planted, and how honest their probabilities: floors a little below what was
measured, with identifiers hidden.

A change that makes matching worse fails here; one that makes it better may raise the floors.
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

from enrich_dist.bench.generate import write_awards, write_common_names, write_recipients
from enrich_dist.link import link
from enrich_dist.matching import CandidateConfig
from enrich_dist.matching.decisions import DecisionConfig
from tests.conftest import REPOSITORY

SAMPLE = REPOSITORY / "data" / "sample" / "recipients.parquet"
SEED, RECIPIENTS, COMPANIES = 1, 20_000, 3_000
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


@dataclass(frozen=True)
class Planted:
    """Links of generated companies, and the truth: the acceptable recipients of each, and which name and place tell."""

    links: Linked
    acceptable: Mapping[str, set[str]]
    findable: frozenset[str]

    @property
    def partners(self) -> list[str]:
        return [key for key, right in self.acceptable.items() if right]

    @property
    def strangers(self) -> list[str]:
        return [key for key, right in self.acceptable.items() if not right]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    recipients, truth, organisations = (folder / f"{name}.parquet" for name in ("recipients", "truth", "organisations"))
    write_recipients(recipients, rows=RECIPIENTS, seed=SEED, sample=SAMPLE)
    write_awards(
        folder / "awards.csv", recipients=recipients, companies=COMPANIES, seed=SEED, truth=truth,
        organisations=organisations,
    )  # fmt: skip
    right = pq.read_table(recipients, columns=list(RECIPIENT_COLUMNS)).rename_columns(RECIPIENT_COLUMNS)
    left = pq.read_table(organisations).drop_columns(list(IDENTIFIERS))
    known = pq.read_table(truth).to_pylist()
    return Planted(
        links=run(folder, left, right),
        acceptable={row["company"]: set(row["acceptable"]) for row in known},
        findable=frozenset(row["company"] for row in known if row["findable"]),
    )


def test_the_case_is_hard_and_complete(planted: Planted) -> None:
    assert len(planted.acceptable) == COMPANIES
    assert 0.69 < len(planted.partners) / COMPANIES < 0.71
    assert 0.75 < len(planted.findable) / len(planted.partners) < 0.95
    assert set(planted.links.right_ids) <= set(planted.acceptable)


def test_print(planted: Planted) -> None:
    links = planted.links
    right = np.array([links.right_ids[k] in planted.acceptable[k] for k in links.right_ids])
    p = np.array([links.probabilities[k] for k in links.right_ids])
    acc = [k for k in links.accepted]
    print("precision", np.mean([links.right_ids[k] in planted.acceptable[k] for k in acc]))
    print("recall", links.share(planted.partners, planted.acceptable), "findable", links.share(list(planted.findable), planted.acceptable))
    print("strangers", links.share(planted.strangers))
    print("ece", calibration_error(p, right))
    print(links.estimated)
