"""Faults on purpose (``testing.fault_probability``): drawn anew for every attempt, told in every run, and harmless."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from distributed import Client

from enrich_dist.cluster.client import open_client
from enrich_dist.errors import SettingsError
from enrich_dist.events import Notice, listening
from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.farm.fault_injection import FaultKind, Faults, InjectedFaultError
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings, load_settings
from tests.conftest import run_steps
from tests.support.damaged import calls, finish, planned
from tests.support.known_case import settings
from tests.support.published import published_bytes

KEYS = [f"{number:064x}" for number in range(5_000)]
CHUNKS = 6


def test_so_many_attempts_are_struck_as_was_asked_for_and_by_every_kind() -> None:
    strikes = [Faults(0.2, seed=1).strike(key, 1) for key in KEYS]

    struck = Counter(strike.kind for strike in strikes if strike)
    assert 0.18 < struck.total() / len(KEYS) < 0.22
    assert set(struck) == set(FaultKind)
    assert min(struck.values()) > struck.total() / len(FaultKind) / 2
    assert {strike.late for strike in strikes if strike} == {True, False}


def test_the_same_seed_draws_the_same_and_a_retry_or_another_seed_draws_anew() -> None:
    first = [Faults(0.2, seed=1).strike(key, 1) for key in KEYS]

    assert [Faults(0.2, seed=1).strike(key, 1) for key in KEYS] == first
    struck = [key for key, strike in zip(KEYS, first, strict=True) if strike]
    for other in (Faults(0.2, seed=1), 2), (Faults(0.2, seed=2), 1):
        again = [key for key in struck if other[0].strike(key, other[1])]
        assert 0.1 < len(again) / len(struck) < 0.3


class Plain:
    """A matcher that notes its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def key(self) -> str:
        return "plain"

    def open_index(self, directory: Path) -> Any:
        return directory

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        self.calls += 1
        return recipients, recipients

    def join(self, parts: Any) -> tuple[pa.Table, pa.Table]:
        return parts[0]


def key_struck_by(faults: Faults, kind: FaultKind, *, late: bool) -> str:
    def suits(key: str) -> bool:
        strike = faults.strike(key, 1)
        return strike is not None and (strike.kind, strike.late) == (kind, late)

    return next(key for key in KEYS if suits(key))


@pytest.mark.parametrize("late", [False, True])
def test_an_attempt_is_struck_once_before_or_after_it_matched(late: bool) -> None:
    faults, inner = Faults(0.5, seed=3), Plain()
    rows = pa.table({"source_row": [1]})
    matcher = faults.around(inner, key_struck_by(faults, FaultKind.RAISE, late=late), 1)

    with pytest.raises(InjectedFaultError, match="injected into attempt 1"):
        matcher.match(None, rows)
    assert inner.calls == int(late)
    assert matcher.match(None, rows)[0] is rows
    assert (matcher.key(), matcher.open_index(Path("x"))) == ("plain", Path("x"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["farm.max_attempts=1"], "farm.max_attempts of at least 2"),
        (["chunk_size=1000"], "farm.min_part_rows of at most half of chunk_size"),
        (["testing.fault_probability=0.9"], "less than or equal to 0.5"),
    ],
)
def test_what_cannot_be_survived_is_refused(values: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(None, ["testing.fault_probability=0.1", *values], {})


@pytest.fixture(scope="module")
def own_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A cluster of these tests alone: its workers are killed."""
    with open_client(Settings(), tmp_path_factory.mktemp("dask")) as opened:
        yield opened


def faulty(probability: float, seed: int) -> dict[str, Any]:
    return {
        "testing": {"fault_probability": probability, "fault_seed": seed},
        "farm": {"max_attempts": 10, "min_part_rows": 1},
    }


@pytest.mark.cluster
@pytest.mark.setting("testing.fault_probability", "testing.fault_seed")
def test_a_run_under_faults_warns_and_publishes_the_same_bytes(
    tmp_path: Path, own_client: Client, undisturbed: dict[str, str]
) -> None:
    # A seed by which chunks are struck, some of them twice.
    pipeline = planned(tmp_path, **faulty(0.5, seed=7))
    notices: list[Notice] = []

    with listening(lambda event: notices.append(event) if isinstance(event, Notice) else None):
        report = pipeline.farm_chunks(lambda: own_client)
    finish(pipeline)

    assert published_bytes(pipeline.settings.paths.work_dir) == undisturbed
    assert [notice for notice in notices if "testing.fault_probability is 0.5" in notice.message and notice.warning]
    # Every attempt was struck as it was drawn: those struck before they matched never called the matcher. An attempt
    # that only waited on a worker that another one ended was never begun, and the next has its own draw.
    failures = AttemptLedger(pipeline.directory.attempts).failures()
    waited = {(failure.chunk_id, failure.attempt) for failure in failures if failure.kind == "bystander"}
    faults = Faults(0.5, 7)
    harmless = (None, FaultKind.WAIT)
    called = failed = 0
    for task in pipeline.tasks():
        for attempt in range(1, 20):
            if (task.chunk_id, attempt) in waited:
                continue
            strike = faults.strike(task.checkpoint_key, attempt)
            kind = strike.kind if strike else None
            called += kind in harmless or bool(strike and strike.late)
            failed += kind not in harmless
            if kind in harmless:
                break
    assert failed >= 2  # by chance: another engine has other keys, and so other draws
    assert len(failures) - len(waited) == failed
    assert sum(calls(tmp_path).values()) >= called
    assert report.numbers["rows_quarantined"] == 0


@pytest.mark.cluster
def test_checkpoints_are_those_of_a_run_without_faults(tmp_path: Path, client: Client) -> None:
    run = settings(tmp_path)
    run_steps(run, lambda: client)
    under_faults = run.model_copy(update={"testing": run.testing.model_copy(update={"fault_probability": 0.5})})

    def no_cluster() -> Client:
        raise AssertionError("a cluster was asked for")

    report = Pipeline(under_faults, "again").farm_chunks(no_cluster)

    assert report.numbers["chunks_resumed"] == CHUNKS
