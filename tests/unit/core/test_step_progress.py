"""Progress of a step: records done, and the time remaining at the rate so far."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from enrich_dist.core.step_progress import StageMeter, StepMeter
from enrich_dist.events import Event, Step, StepProgress, listening


@pytest.fixture
def heard() -> Iterator[list[StepProgress]]:
    events: list[StepProgress] = []

    def hear(event: Event) -> None:
        if isinstance(event, StepProgress):
            events.append(event)

    with listening(hear):
        yield events


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("enrich_dist.core.step_progress.time.monotonic", lambda: now[0])
    return now


def test_time_remaining_follows_the_rate(heard: list[StepProgress], clock: list[float]) -> None:
    meter = StepMeter(Step.RECIPIENT_CHUNKS, "recipients", 1_000)
    for seconds in (10.0, 10.0, 20.0):
        clock[0] += seconds
        meter.add(250)

    assert [event.remaining_seconds for event in heard] == [30.0, 20.0, pytest.approx(40 / 3)]
    assert heard[0].line() == "recipient chunks: 250 of 1,000 recipients (25.0%), 0:10 elapsed, 0:30 left"
    assert not heard[-1].finished


def test_time_remaining_follows_the_stages(heard: list[StepProgress], clock: list[float]) -> None:
    meter = StageMeter(Step.ENRICHED_AWARDS, (0.25, 1.0))
    for _ in range(2):
        clock[0] += 5.0
        meter.end_stage()

    assert [(event.done, event.total, event.remaining_seconds) for event in heard] == [(1, 2, 15.0), (2, 2, 0.0)]


def test_reused_stages_are_not_reported(heard: list[StepProgress]) -> None:
    meter = StageMeter(Step.AWARD_COMPANIES, (0.8, 1.0))
    meter.end_stage(reused=True)
    meter.end_stage()

    assert [event.done for event in heard] == [2]
    assert heard[-1].finished


def test_unknown_or_exceeded_total_has_no_estimate(heard: list[StepProgress], clock: list[float]) -> None:
    for total in (None, 10):
        clock[0] += 1.0
        StepMeter(Step.RECIPIENT_CHUNKS, "recipients", total).add(30)

    assert [event.remaining_seconds for event in heard] == [None, None]
    assert heard[0].line() == "recipient chunks: 30 recipients, 0:00 elapsed"


def test_counted_closes_its_items(heard: list[StepProgress]) -> None:
    closed = []

    def items() -> Iterator[str]:
        try:
            yield from ("ab", "cde")
        finally:
            closed.append(True)

    counted = StepMeter(Step.RECIPIENT_CHUNKS, "recipients", 5).counted(items(), len)  # type: ignore[arg-type]
    assert next(counted) == "ab"
    counted.close()
    assert closed == [True]
    assert heard == []
