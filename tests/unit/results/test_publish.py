"""Nothing leaves without a passed verdict on exactly what leaves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from enrich_dist.core.files import write_json
from enrich_dist.errors import PublicationBlockedError
from enrich_dist.results.publish import CURRENT, publish
from enrich_dist.results.quality import Gate, judge
from enrich_dist.store.artifacts import get_or_build

GATE = Gate(match_rate_threshold=0.7, min_estimated_precision=0.95, max_quarantined_share=0.001)


def make_result(
    path: Path,
    *,
    rate: float = 0.8,
    precision: float | None = 0.99,
    gate: Gate = GATE,
    content: str = "awards",
    quarantined: int = 0,
) -> Path:
    """A result as the job makes one: judged, then stored with its digests."""
    verdict = judge(
        {
            "match_rate": rate,
            "awards": {"valid": 10, "matched": round(10 * rate)},
            "accuracy": {"precision": {"estimate": precision}},
            "reconciliation": {
                "balanced": True,
                "differences": [],
                "recipients": {"read": 1000, "quarantined": quarantined},
            },
            "completeness": {"chunks_missing": 0},
        },
        gate,
    )

    def build(directory: Path) -> dict[str, Any]:
        (directory / "enriched_awards.parquet").write_text(content, "utf-8")
        write_json(directory / "verdict.json", verdict)
        return {}

    return get_or_build(path, build).path


def test_a_passed_result_is_published_and_again_without_change(tmp_path: Path) -> None:
    result = make_result(tmp_path / "results" / "one")

    publish(result, tmp_path / "published", GATE)
    release = publish(result, tmp_path / "published", GATE)

    assert release.reused
    assert (tmp_path / "published" / CURRENT / "enriched_awards.parquet").read_text("utf-8") == "awards"


def test_a_new_result_takes_the_place_of_the_old_one_and_the_old_one_stays(tmp_path: Path) -> None:
    published = tmp_path / "published"
    one = publish(make_result(tmp_path / "results" / "one"), published, GATE)

    two = publish(make_result(tmp_path / "results" / "two", content="new"), published, GATE)

    assert (published / CURRENT / "enriched_awards.parquet").read_text("utf-8") == "new"
    assert (one.path / "enriched_awards.parquet").read_text("utf-8") == "awards"
    assert {path.name for path in published.iterdir()} == {CURRENT, one.path.name, two.path.name}


def test_a_result_made_anew_with_other_bytes_is_published(tmp_path: Path) -> None:
    result = tmp_path / "results" / "one"
    publish(make_result(result), tmp_path / "published", GATE)
    shutil.rmtree(result)

    publish(make_result(result, content="the same rows"), tmp_path / "published", GATE)

    current = tmp_path / "published" / CURRENT
    assert (current / "enriched_awards.parquet").read_text("utf-8") == "the same rows"


def _without_verdict(result: Path) -> None:
    (result / "verdict.json").unlink()


def _forged_verdict(result: Path) -> None:
    text = (result / "verdict.json").read_text("utf-8").replace("blocked", "passed")
    (result / "verdict.json").write_text(text, "utf-8")


def _other_content(result: Path) -> None:
    (result / "enriched_awards.parquet").write_text("other", "utf-8")


@pytest.mark.parametrize(
    ("shares", "change", "reason"),
    [
        ({"rate": 0.6}, None, r"match rate 0\.6000, threshold 0\.7000"),
        ({"precision": 0.94}, None, r"0\.9400 are right by their own probabilities, at least 0\.9500"),
        ({}, _without_verdict, "not the result that was judged"),
        ({"rate": 0.6}, _forged_verdict, "not the result that was judged"),
        ({}, _other_content, "not the result that was judged"),
    ],
    ids=["match-rate", "precision", "no-verdict", "forged-verdict", "other-content"],
)
def test_anything_else_is_refused_and_what_is_published_stays(
    tmp_path: Path, shares: dict[str, float], change: Any, reason: str
) -> None:
    published = tmp_path / "published"
    before = publish(make_result(tmp_path / "results" / "before"), published, GATE)
    result = make_result(tmp_path / "results" / "one", content="not to be seen", **shares)
    if change:
        change(result)

    with pytest.raises(PublicationBlockedError, match=reason):
        publish(result, published, GATE)

    assert (published / CURRENT / "enriched_awards.parquet").read_text("utf-8") == "awards"
    assert {path.name for path in published.iterdir()} == {CURRENT, before.path.name}


@pytest.mark.parametrize(
    ("shares", "laxer", "message"),
    [
        ({"rate": 0.4}, Gate(0.3, 0.95, 0.001), r"passed at match_rate_threshold 0\.3, now it is 0\.7"),
        ({"precision": 0.9}, Gate(0.7, 0.8, 0.001), r"passed at min_estimated_precision 0\.8, now it is 0\.95"),
        ({}, Gate(0.7, 0.8, 0.001), r"passed at min_estimated_precision 0\.8, now it is 0\.95"),
        ({"quarantined": 5}, Gate(0.7, 0.95, 0.01), r"passed at max_quarantined_share 0\.01, now it is 0\.001"),
    ],
    ids=["match-rate", "precision", "good-enough-but-not-judged-so", "quarantine"],
)
def test_a_verdict_by_a_laxer_threshold_is_refused(
    tmp_path: Path, shares: dict[str, float], laxer: Gate, message: str
) -> None:
    result = make_result(tmp_path / "results" / "one", gate=laxer, **shares)

    with pytest.raises(PublicationBlockedError, match=message):
        publish(result, tmp_path / "published", GATE)

    assert not (tmp_path / "published").exists()


def test_a_verdict_by_a_stricter_gate_is_enough(tmp_path: Path) -> None:
    result = make_result(tmp_path / "results" / "one", gate=Gate(0.8, 0.99, 0.0))

    publish(result, tmp_path / "published", GATE)

    assert (tmp_path / "published" / CURRENT).exists()


def test_a_result_that_never_was_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PublicationBlockedError):
        publish(tmp_path / "nothing", tmp_path / "published", GATE)
