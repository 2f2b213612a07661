"""The ledger's files while attempts run."""

from __future__ import annotations

from pathlib import Path

from enrich_dist.farm.attempts import AttemptLedger


def test_started_attempts_are_listed(tmp_path: Path) -> None:
    ledger = AttemptLedger(tmp_path / "attempts")
    assert ledger.started() == set()
    with ledger.attempt("abc", 1, "tcp://one"), ledger.attempt("def", 12, "tcp://two"):
        for foreign in ("notes.running.json", "abc.later.running.json", ".running.json"):
            (ledger.directory / foreign).write_text("", "utf-8")
        for foreign, text in (("x.0.running.json", '{"note": 1}'), ("y.0.failed.json", '{"kind": "odd"}')):
            (ledger.directory / foreign).write_text(text, "utf-8")

        assert ledger.started() == {("abc", 1), ("def", 12), ("x", 0)}  # by name alone
        assert ledger.failures() == []
        assert {(marker.checkpoint_key, marker.attempt) for marker in ledger.markers()} == {("abc", 1), ("def", 12)}

    (ledger.directory / "x.0.running.json").unlink()
    assert ledger.started() == set()
