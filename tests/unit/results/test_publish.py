"""Publishing needs a passed verdict on the unchanged result, and links its files."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist.core.files import read_json, write_json
from enrich_dist.errors import PublicationBlockedError, StateError
from enrich_dist.results.build import DATABASE
from enrich_dist.results.publish import publish
from enrich_dist.results.quality import Gate, judge
from enrich_dist.store.artifacts import MANIFEST, get_or_build
from enrich_dist.store.run_directory import CURRENT

GATE = Gate(match_rate_threshold=0.7, min_estimated_precision=0.95, max_quarantined_share=0.001)


def make_result(
    path: Path,
    *,
    rate: float = 0.8,
    precision: float | None = 0.99,
    gate: Gate = GATE,
    content: str = "awards",
    quarantined: int = 0,
    claimed: dict[str, Any] | None = None,
    forge: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Path:
    """A result as the job makes one: judged, then stored with its digests."""
    awards = pa.table({"match_status": ["matched"] * round(10 * rate) + ["unmatched"] * (10 - round(10 * rate))})
    statuses = [] if precision is None else ["matched"]
    companies = pa.table(
        {"match_status": statuses, "match_probability": pa.array([precision] * len(statuses), pa.float64())}
    )
    metrics = {
        "match_rate": rate,
        "awards": {"valid": 10, "matched": round(10 * rate)},
        "accuracy": {"precision": {"estimate": precision}},
        "reconciliation": {
            "balanced": True,
            "differences": [],
            "recipients": {"read": 1000, "quarantined": quarantined},
        },
        "completeness": {"chunks_missing": 0},
    }
    metrics = {**metrics, **(claimed or {})}
    verdict = forge(judge(metrics, gate)) if forge else judge(metrics, gate)

    def build(directory: Path) -> dict[str, Any]:
        pq.write_table(awards, directory / "enriched_awards.parquet")
        pq.write_table(companies, directory / "company_matches.parquet")
        (directory / "report.md").write_text(content, "utf-8")
        (directory / DATABASE).write_text("database", "utf-8")
        for name, document in (("metrics", metrics), ("verdict", verdict)):
            write_json(directory / f"{name}.json", document)
        return {"metrics": metrics, "verdict": verdict}

    return get_or_build(path, build).path


def test_passed_result_is_published_once(tmp_path: Path) -> None:
    result = make_result(tmp_path / "results" / "one")

    publish(result, tmp_path / "published", GATE)
    release = publish(result, tmp_path / "published", GATE)

    assert release.reused
    assert (tmp_path / "published" / CURRENT / "report.md").read_text("utf-8") == "awards"


def test_new_result_replaces_the_old_one(tmp_path: Path) -> None:
    published = tmp_path / "published"
    one = publish(make_result(tmp_path / "results" / "one"), published, GATE)

    two = publish(make_result(tmp_path / "results" / "two", content="new"), published, GATE)

    assert (published / CURRENT / "report.md").read_text("utf-8") == "new"
    assert (one.path / "report.md").read_text("utf-8") == "awards"
    assert {path.name for path in published.iterdir()} == {CURRENT, one.path.name, two.path.name}


def test_rebuilt_result_is_published(tmp_path: Path) -> None:
    result = tmp_path / "results" / "one"
    publish(make_result(result), tmp_path / "published", GATE)
    shutil.rmtree(result)

    publish(make_result(result, content="the same rows"), tmp_path / "published", GATE)

    current = tmp_path / "published" / CURRENT
    assert (current / "report.md").read_text("utf-8") == "the same rows"


def _without_verdict(result: Path) -> None:
    (result / "verdict.json").unlink()


def _forged_verdict(result: Path) -> None:
    text = (result / "verdict.json").read_text("utf-8").replace("blocked", "passed")
    (result / "verdict.json").write_text(text, "utf-8")


def _other_content(result: Path) -> None:
    (result / "report.md").write_text("other", "utf-8")


@pytest.mark.parametrize(
    ("shares", "change", "reason"),
    [
        ({"rate": 0.6}, None, r"match rate 60\.0% \(minimum 70\.0%\)"),
        ({"precision": 0.94}, None, r"estimated precision 94\.0% \(minimum 95\.0%\)"),
        ({}, _without_verdict, "not the result that was judged"),
        ({"rate": 0.6}, _forged_verdict, "not the result that was judged"),
        ({}, _other_content, "not the result that was judged"),
    ],
    ids=["match-rate", "precision", "no-verdict", "forged-verdict", "other-content"],
)
def test_unjudged_result_is_refused(tmp_path: Path, shares: dict[str, float], change: Any, reason: str) -> None:
    published = tmp_path / "published"
    before = publish(make_result(tmp_path / "results" / "before"), published, GATE)
    result = make_result(tmp_path / "results" / "one", content="not to be seen", **shares)
    if change:
        change(result)

    with pytest.raises(PublicationBlockedError, match=reason):
        publish(result, published, GATE)

    assert (published / CURRENT / "report.md").read_text("utf-8") == "awards"
    assert {path.name for path in published.iterdir()} == {CURRENT, before.path.name}


def _threshold(value: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def forge(verdict: dict[str, Any]) -> dict[str, Any]:
        return {**verdict, "checks": [{**check, "threshold": value} for check in verdict["checks"]]}

    return forge


@pytest.mark.parametrize(
    "forged",
    [
        {"rate": 0.6, "forge": lambda verdict: {**verdict, "status": "passed", "reasons": []}},
        {"rate": 0.6, "forge": lambda _: judge_as_good()},
        {"rate": 0.6, "claimed": {"match_rate": 0.8, "awards": {"valid": 10, "matched": 8}}},
        {"rate": 0.6, "claimed": {"match_rate": 0.8}},
        {"rate": 0.6, "claimed": {"match_rate": 10.0}},
        {"precision": 0.5, "claimed": {"accuracy": {"precision": {"estimate": 0.99}}}},
        {"claimed": {"match_rate": float("nan")}},
        {"forge": _threshold(float("nan"))},
        {"forge": _threshold(float("-inf"))},
        {"forge": _threshold(-1.0)},
        {"forge": lambda verdict: {**verdict, "checks": verdict["checks"][1:]}},
        {"forge": lambda verdict: {**verdict, "checks": "none"}},
        {"claimed": {"completeness": {}}, "gate": None},
    ],
    ids=[
        "status", "verdict of another result", "metrics", "rate alone", "rate above one", "precision", "rate NaN",
        "threshold NaN", "threshold infinite", "threshold negative", "check missing", "checks malformed", "no metrics",
    ],
)  # fmt: skip
def test_forged_verdict_with_a_new_manifest_is_refused(tmp_path: Path, forged: dict[str, Any]) -> None:
    if "gate" in forged:
        result = make_result(tmp_path / "results" / "one")
        (result / "metrics.json").unlink()
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(result, tmp_path / "copy", ignore=shutil.ignore_patterns(MANIFEST))
        shutil.rmtree(result)
        get_or_build(result, lambda made: shutil.copytree(tmp_path / "copy", made, dirs_exist_ok=True) and {})
    else:
        result = make_result(tmp_path / "results" / "one", **forged)

    with pytest.raises(PublicationBlockedError, match="not the result that was judged"):
        publish(result, tmp_path / "published", GATE)

    assert not (tmp_path / "published").exists()


def judge_as_good() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        return read_json(make_result(Path(name) / "good") / "verdict.json")


@pytest.mark.parametrize(
    ("shares", "laxer", "message"),
    [
        ({"rate": 0.4}, Gate(0.3, 0.95, 0.001), r"match_rate_threshold 0\.3; the setting is now 0\.7"),
        ({"precision": 0.9}, Gate(0.7, 0.8, 0.001), r"min_estimated_precision 0\.8; the setting is now 0\.95"),
        ({}, Gate(0.7, 0.8, 0.001), r"min_estimated_precision 0\.8; the setting is now 0\.95"),
        ({"quarantined": 5}, Gate(0.7, 0.95, 0.01), r"max_quarantined_share 0\.01; the setting is now 0\.001"),
    ],
    ids=["match-rate", "precision", "good-enough-but-not-judged-so", "quarantine"],
)
def test_verdict_of_laxer_gate_is_refused(tmp_path: Path, shares: dict[str, float], laxer: Gate, message: str) -> None:
    result = make_result(tmp_path / "results" / "one", gate=laxer, **shares)

    with pytest.raises(PublicationBlockedError, match=message):
        publish(result, tmp_path / "published", GATE)

    assert not (tmp_path / "published").exists()


def test_verdict_of_stricter_gate_is_enough(tmp_path: Path) -> None:
    result = make_result(tmp_path / "results" / "one", gate=Gate(0.8, 0.99, 0.0))

    publish(result, tmp_path / "published", GATE)

    assert (tmp_path / "published" / CURRENT).exists()


def test_missing_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PublicationBlockedError):
        publish(tmp_path / "nothing", tmp_path / "published", GATE)


# --- hard links ------------------------------------------------------------------------------------------------


def test_published_files_are_read_only_links(tmp_path: Path) -> None:
    result = make_result(tmp_path / "results" / "one")

    release = publish(result, tmp_path / "published", GATE).path

    for name in ("enriched_awards.parquet", "verdict.json"):
        assert (release / name).samefile(result / name)
        assert stat.S_IMODE((release / name).stat().st_mode) == 0o444
    assert not (release / DATABASE).samefile(result / DATABASE), "DuckDB opens databases for writing"
    assert (release / DATABASE).stat().st_mode & stat.S_IWUSR


@pytest.mark.parametrize("refusal", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_refused_links_become_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", refuse)

    assert_copied(make_result(tmp_path / "results" / "one"), tmp_path / "published")


@pytest.fixture
def other_file_system(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev or not os.access(memory, os.W_OK):
        pytest.skip("no second file system")
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def test_another_file_system_gets_copies(tmp_path: Path, other_file_system: Path) -> None:
    (tmp_path / "published").symlink_to(other_file_system)

    assert_copied(make_result(tmp_path / "results" / "one"), tmp_path / "published")


def assert_copied(result: Path, published: Path) -> None:
    release = publish(result, published, GATE).path
    copied = release / "enriched_awards.parquet"
    assert not copied.samefile(result / copied.name)
    assert copied.read_bytes() == (result / copied.name).read_bytes()
    assert stat.S_IMODE(copied.stat().st_mode) == 0o444
    assert publish(result, published, GATE).reused


_READER = """
import sys
from pathlib import Path
path, stop = map(Path, sys.argv[1:])
reads = failed = 0
print("reading", flush=True)
while not stop.exists() or reads < 1000:
    try:
        path.read_bytes()
    except OSError:
        failed += 1
    reads += 1
print(failed, flush=True)
"""


def damage(release: Path, kind: str) -> None:
    match kind:
        case "altered":
            (release / DATABASE).write_text("altered", "utf-8")
        case "missing":
            (release / DATABASE).unlink()
        case "torn manifest":
            (release / MANIFEST).write_text("{", "utf-8")
        case "file of others":
            (release / "notes.txt").write_text("of others", "utf-8")


def test_readers_never_see_a_gap(tmp_path: Path) -> None:
    published, result = tmp_path / "published", make_result(tmp_path / "results" / "one")
    publish(result, published, GATE)
    path, stop = published / CURRENT / "enriched_awards.parquet", tmp_path / "stop"
    with subprocess.Popen([sys.executable, "-c", _READER, path, stop], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout
        reader.stdout.readline()
        for kind in ("altered", "missing", "torn manifest", "file of others") * 3:
            damage((published / CURRENT).resolve(), kind)
            assert not publish(result, published, GATE).reused
        stop.touch()
        assert reader.stdout.readline() == "0\n"


@pytest.mark.parametrize("kind", ["altered", "missing", "torn manifest", "file of others"])
def test_damaged_release_is_replaced_while_it_stays(tmp_path: Path, kind: str) -> None:
    published, result = tmp_path / "published", make_result(tmp_path / "results" / "one")
    first = publish(result, published, GATE)
    damage(first.path, kind)

    second = publish(result, published, GATE)
    again = publish(result, published, GATE)

    assert (second.path != first.path, again.path, again.reused) == (True, second.path, True)
    assert (first.path / "enriched_awards.parquet").exists()
    damage(second.path, kind)
    assert publish(result, published, GATE).path == first.path
    kept = [path.name for path in published.rglob("notes.txt")]
    assert kept == (["notes.txt"] * 2 if kind == "file of others" else [])


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_current_of_others_stays(tmp_path: Path, kind: str) -> None:
    current = tmp_path / "published" / CURRENT
    current.parent.mkdir()
    current.mkdir() if kind == "directory" else current.write_text("of others", "utf-8")

    with pytest.raises(StateError, match=CURRENT):
        publish(make_result(tmp_path / "results" / "one"), tmp_path / "published", GATE)

    assert not current.is_symlink()


def test_write_through_a_link_is_repaired(tmp_path: Path) -> None:
    published = tmp_path / "published"
    result = make_result(tmp_path / "results" / "one")
    changed = publish(result, published, GATE).path / "report.md"
    changed.chmod(0o644)
    changed.write_text("changed by a user", "utf-8")

    with pytest.raises(PublicationBlockedError):
        publish(result, published, GATE)
    publish(make_result(result), published, GATE)

    assert (published / CURRENT / changed.name).read_text("utf-8") == "awards"
