"""A short soak; ``make soak`` runs the long one."""

from __future__ import annotations

import secrets

import pytest

from scripts.soak import Damage, DriverFault, WorkerFault, draw, soak

SCHEDULES = 10


@pytest.mark.cluster
@pytest.mark.long
def test_random_faults_change_nothing() -> None:
    seed = secrets.randbelow(1_000_000)
    print(f"seed {seed}")  # to repeat: python -m scripts.soak --seed …  # noqa: T201

    figures = soak(range(SCHEDULES), seed)

    assert figures["wrong"] == [], f"seed {seed}"
    assert (figures["schedules"], figures["schedules_wrong"]) == (SCHEDULES, 0)
    assert sum(figures["faults"].values()) > 0
    assert figures["matcher_calls"] >= SCHEDULES * figures["chunks_per_schedule"]


def test_seed_gives_every_fault_kind() -> None:
    schedules = [draw(1, number) for number in range(200)]

    assert schedules == [draw(1, number) for number in range(200)]
    assert schedules != [draw(2, number) for number in range(200)]
    legs = [leg for schedule in schedules for leg in schedule.legs]
    assert {fault.kind for leg in legs for fault in leg.faults} == set(WorkerFault)
    assert {leg.ending for leg in legs} == {None, *DriverFault}
    assert {damage for leg in legs for damage, _ in leg.damages} == set(Damage)
    assert all(
        [leg.ending is None for leg in schedule.legs].index(True) == len(schedule.legs) - 1 for schedule in schedules
    )
