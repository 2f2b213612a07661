"""Nothing leaves without a passed verdict on exactly what leaves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from enrich_dist.errors import PublicationBlockedError
from enrich_dist.files import write_json
from enrich_dist.publish import CURRENT, publish
from enrich_dist.store import open_or_build


def make_result(path: Path, *, rate: float = 0.8, threshold: float = 0.7, content: str = "awards") -> Path:
    passed = rate >= threshold
    verdict = {
        "status": "passed" if passed else "blocked",
        "reasons": [] if passed else [f"match rate {rate} under {threshold}"],
        "checks": [{"name": "match_rate", "passed": passed, "value": rate, "threshold": threshold, "reason": ""}],
    }

    def build(directory: Path) -> dict[str, Any]:
        (directory / "enriched_awards.parquet").write_text(content, "utf-8")
        write_json(directory / "verdict.json", verdict)
        return {}

    return open_or_build(path, build).path


def test_a_passed_result_is_published_and_again_without_change(tmp_path: Path) -> None:
    result = make_result(tmp_path / "results" / "one")

    publish(result, tmp_path / "published", match_rate_threshold=0.7)
    release = publish(result, tmp_path / "published", match_rate_threshold=0.7)

    assert release.reused
    assert (tmp_path / "published" / CURRENT / "enriched_awards.parquet").read_text("utf-8") == "awards"


def test_a_new_result_takes_the_place_of_the_old_one_and_the_old_one_stays(tmp_path: Path) -> None:
    published = tmp_path / "published"
    one = publish(make_result(tmp_path / "results" / "one"), published, match_rate_threshold=0.7)

    two = publish(make_result(tmp_path / "results" / "two", content="new"), published, match_rate_threshold=0.7)

    assert (published / CURRENT / "enriched_awards.parquet").read_text("utf-8") == "new"
    assert (one.path / "enriched_awards.parquet").read_text("utf-8") == "awards"
    assert {path.name for path in published.iterdir()} == {CURRENT, one.path.name, two.path.name}


def test_a_result_made_anew_with_other_bytes_is_published(tmp_path: Path) -> None:
    result = tmp_path / "results" / "one"
    publish(make_result(result), tmp_path / "published", match_rate_threshold=0.7)
    shutil.rmtree(result)

    publish(make_result(result, content="the same rows"), tmp_path / "published", match_rate_threshold=0.7)

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
    ("rate", "change", "reason"),
    [
        (0.6, None, "match rate 0.6 under 0.7"),
        (0.8, _without_verdict, "not the result that was judged"),
        (0.6, _forged_verdict, "not the result that was judged"),
        (0.8, _other_content, "not the result that was judged"),
    ],
    ids=["blocked", "no-verdict", "forged-verdict", "other-content"],
)
def test_anything_else_is_refused_and_what_is_published_stays(
    tmp_path: Path, rate: float, change: Any, reason: str
) -> None:
    published = tmp_path / "published"
    before = publish(make_result(tmp_path / "results" / "before"), published, match_rate_threshold=0.7)
    result = make_result(tmp_path / "results" / "one", rate=rate, content="not to be seen")
    if change:
        change(result)

    with pytest.raises(PublicationBlockedError, match=reason):
        publish(result, published, match_rate_threshold=0.7)

    assert (published / CURRENT / "enriched_awards.parquet").read_text("utf-8") == "awards"
    assert {path.name for path in published.iterdir()} == {CURRENT, before.path.name}


def test_a_verdict_by_a_laxer_threshold_is_refused(tmp_path: Path) -> None:
    result = make_result(tmp_path / "results" / "one", rate=0.4, threshold=0.3)

    with pytest.raises(PublicationBlockedError, match=r"passed at match_rate_threshold 0\.3, now it is 0\.7"):
        publish(result, tmp_path / "published", match_rate_threshold=0.7)


def test_a_result_that_never_was_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PublicationBlockedError):
        publish(tmp_path / "nothing", tmp_path / "published", match_rate_threshold=0.7)
