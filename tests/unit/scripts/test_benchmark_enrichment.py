"""``scripts.benchmark_enrichment regression``: measured twice with the real command, the second time compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from enrich_dist.errors import EXIT_REGRESSION
from scripts.benchmark_enrichment import regression
from tests.support.known_case import write_inputs


@pytest.mark.long
def test_session_is_compared_with_the_first(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    config, archive = tmp_path / "settings.yaml", tmp_path / "archive"
    document = {
        "inputs": {"awards": str(awards), "recipients": str(recipients)},
        "paths": {"work_dir": str(tmp_path / "work")},
        "match_rate_threshold": 0.5,
    }
    config.write_text(yaml.safe_dump(document), "utf-8")

    assert regression(config, archive, repeats=1) == 0
    [baseline] = json.loads((archive / "baseline.json").read_text("utf-8"))["baselines"].values()
    assert len(baseline["records"]) == 1
    assert not list(archive.glob("*.html"))

    assert regression(config, archive, repeats=1) in (0, EXIT_REGRESSION)
    assert (archive / "comparison.md").read_text("utf-8").startswith("# Benchmark: ")
    assert "Benchmark comparison" in (archive / "comparison.html").read_text("utf-8")
    assert "Benchmark trend" in (archive / "trend.html").read_text("utf-8")

    document["inputs"] = {"awards": str(tmp_path / "gone.csv"), "recipients": str(recipients)}
    config.write_text(yaml.safe_dump(document), "utf-8")
    assert regression(config, archive, repeats=1) == 2
