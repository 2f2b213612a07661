"""When the match rate is projected, and what is said of it: once, early, and without harm to the run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from enrich_dist.errors import EXIT_BLOCKED, ProjectedToFailError
from enrich_dist.events import Event, Notice, listening
from enrich_dist.progress.early_warning import EarlyWarning
from enrich_dist.progress.projection import Projection

CHUNKS = 50
TOO_LOW = Projection(rate=0.513, low=0.45, high=0.571, chunks=5)
OPEN = Projection(rate=0.68, low=0.60, high=0.76, chunks=5)


class _Projector:
    """Returns given projections, the last one again and again, and records the share of each call."""

    def __init__(self, *projections: Projection | Exception) -> None:
        self._projections = list(projections)
        self.asked: list[tuple[int, float]] = []

    def __call__(self, keys: Sequence[str], share_done: float) -> Projection:
        self.asked.append((len(keys), share_done))
        found = self._projections.pop(0) if len(self._projections) > 1 else self._projections[0]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still: no look costs anything."""
    monkeypatch.setattr("enrich_dist.progress.early_warning.time.monotonic", lambda: 0.0)


def farm(early: EarlyWarning, chunks: int = CHUNKS) -> list[Event]:
    """Finish one chunk after another; return the notices."""
    heard: list[Event] = []
    with listening(heard.append):
        for done in range(1, chunks + 1):
            early.check([f"key{number}" for number in range(done)], done / chunks)
    return heard


def warning(project: _Projector, *, fail_fast: bool = False, chunks: int = CHUNKS) -> EarlyWarning:
    return EarlyWarning(project, threshold=0.7, chunks_total=chunks, fail_fast=fail_fast)


def test_warning_comes_once_after_a_tenth() -> None:
    project = _Projector(TOO_LOW, TOO_LOW, TOO_LOW)

    (notice,) = farm(warning(project))

    assert project.asked[:3] == [(5, 0.1), (10, 0.2), (20, 0.4)]
    assert notice == Notice(
        "After 10.0% of the recipients the match rate is projected to end at 51.3% (95% interval 45.0% to 57.1%), "
        "below match_rate_threshold (70.0%): the result will be blocked. With fail_fast: true a run stops here.",
        warning=True,
    )


def test_warning_waits_until_it_is_certain() -> None:
    assert farm(warning(_Projector(OPEN, OPEN, OPEN))) == []
    (notice,) = farm(warning(_Projector(OPEN, TOO_LOW, TOO_LOW)))
    assert isinstance(notice, Notice)
    assert notice.message.startswith("After 20.0%")


def test_fail_fast_stops_with_a_remedy() -> None:
    project = _Projector(TOO_LOW)

    with pytest.raises(ProjectedToFailError, match="Stopped early because fail_fast is set: after 10") as stopped:
        farm(warning(project, fail_fast=True))

    assert "Finished chunks are kept" in str(stopped.value)
    assert stopped.value.exit_code == EXIT_BLOCKED
    assert farm(warning(_Projector(OPEN, OPEN, OPEN), fail_fast=True)) == []


def test_few_chunks_need_no_projection() -> None:
    project = _Projector(OPEN)
    farm(warning(project, chunks=6), chunks=6)
    assert project.asked == [(5, 5 / 6)]
    farm(warning(project, chunks=5), chunks=5)
    assert len(project.asked) == 1


def test_failed_projection_does_not_stop_run() -> None:
    project = _Projector(OSError("no such file"))

    (notice,) = farm(warning(project, fail_fast=True))

    assert notice == Notice("The match rate cannot be projected: no such file", warning=True)
    assert len(project.asked) == 1


@pytest.mark.parametrize(
    ("look_seconds_per_chunk", "at_work_seconds", "asked"),
    [
        (0.002, 4.0, [0.1, 0.2, 0.4]),
        (0.03, 4.0, [0.1, 0.2, 0.4]),  # 1.2 of 160 seconds
        (0.05, 4.0, [0.1]),  # 2 of 160 seconds would be more than a hundredth, whenever
        (0.05, 6.0, [0.1, 0.2, 0.4]),
    ],
)
def test_expensive_projections_are_skipped(
    monkeypatch: pytest.MonkeyPatch, look_seconds_per_chunk: float, at_work_seconds: float, asked: list[float]
) -> None:
    """A look takes longer the more chunks there are: what the next one will take counts, not what the last one did."""
    now = 0.0
    monkeypatch.setattr("enrich_dist.progress.early_warning.time.monotonic", lambda: now)
    found = []

    def slow(keys: Sequence[str], share_done: float) -> Projection:
        nonlocal now
        found.append(share_done)
        now += look_seconds_per_chunk * len(keys)
        return OPEN

    early = EarlyWarning(slow, threshold=0.7, chunks_total=CHUNKS, fail_fast=False)
    for done in range(1, CHUNKS):
        now += at_work_seconds
        early.check([str(number) for number in range(done)], done / CHUNKS)

    assert [share for share in found if share <= 0.4] == asked
    assert found[-1] >= 0.9, "what is shown is refreshed until the end"


def test_projection_is_refreshed_until_the_end() -> None:
    project = _Projector(OPEN, OPEN, OPEN, TOO_LOW)
    early = warning(project)

    assert farm(early) == [], "projections that refresh what is shown do not decide"
    shares = [share for _, share in project.asked]
    assert shares[3:] == [0.56, 0.7, 0.9, 0.96]
    assert (early.projection, early.projection_share) == (TOO_LOW, 0.96)


def test_refreshes_together_cost_at_most_three_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    now, spent = 0.0, 0.0
    monkeypatch.setattr("enrich_dist.progress.early_warning.time.monotonic", lambda: now)

    def project(keys: Sequence[str], share_done: float) -> Projection:
        nonlocal now, spent
        now += 0.012 * len(keys)
        spent += 0.012 * len(keys) if share_done > 0.5 else 0.0
        return OPEN

    early = EarlyWarning(project, threshold=0.7, chunks_total=1000, fail_fast=False)
    for done in range(1, 1000):
        now += 1.0
        early.check([f"key{number}" for number in range(done)], done / 1000)

    assert 0 < spent <= 0.03 * now
    assert early.projection_share is not None
    assert early.projection_share >= 0.9
