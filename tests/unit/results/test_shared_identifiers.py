"""A run in which unlike organisations of either side share an identifier: nothing is decided by it, all is reported."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from enrich_dist.core.files import read_json
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.results.explain import explain_company
from enrich_dist.results.lookup import find_company
from enrich_dist.results.reopen import reopen_result
from enrich_dist.settings import load_settings
from enrich_dist.store.run_directory import Output
from tests.conftest import REPOSITORY
from tests.support.in_process import run_in_process

CORPUS = REPOSITORY / "tests" / "corpus"
UEI = "QJ7RMT3K9WB5"
HOLDERS = {
    "awards": ["Dramoor Optics LLC", "Pylotek Biosystems LLC", "Veltrane Acoustics LLC"],
    "recipients": ["DRAMOOR OPTICS CORP", "FENWARR AEROSPACE CORP", "PYLOTEK BIOSYSTEMS CORP"],
}


def run(case: str, work: Path, *overrides: str) -> Pipeline:
    inputs = [f"inputs.{side}={CORPUS / case / side}.csv" for side in ("awards", "recipients")]
    return run_in_process(load_settings(None, [*inputs, f"paths.work_dir={work}", *overrides], environ={}).settings)


@pytest.mark.parametrize("side", HOLDERS)
def test_holders_are_reported(side: str, tmp_path: Path) -> None:
    pipeline = run(f"shared-uei-of-{side}", tmp_path)
    result = pipeline.directory.output(Output.RESULT)
    names = HOLDERS[side]

    metrics = read_json(result / "metrics.json")["shared_identifiers"]
    listed = {"kind": "uei", "identifier": UEI, "side": side, "names": names, "name_count": 3, "rows": 3}
    assert metrics == {"count": 1, "listed": [listed]}
    with duckdb.connect(str(result / "enrich_dist.duckdb"), read_only=True) as connection:
        rows = connection.execute("from shared_identifiers").fetchall()
        assert rows == [("uei", UEI, side, names, 3)]
        agreed = "select count(*) from company_matches where uei_agreement = 1 and recipient_uei = ?"
        assert connection.execute(agreed, [UEI]).fetchall() == [(0,)]
    report = (result / "report.md").read_text("utf-8")
    assert all(text in report for text in (UEI, *names))
    with reopen_result(pipeline.directory) as reopened:
        company = find_company(reopened, "Veltrane Acoustics LLC")
        [sentence] = explain_company(reopened, DecisionConfig(), company, candidates=3).shared_identifiers
    assert all(text in sentence for text in (UEI, side, *names))


def test_holders_in_several_chunks_are_found(tmp_path: Path) -> None:
    found = [
        run("shared-uei-of-recipients", tmp_path / size, f"chunk_size={size}").directory.output(Output.RESULT)
        for size in ("1", "100")
    ]
    first, second = ((result / "company_matches.parquet").read_bytes() for result in found)
    assert first == second
