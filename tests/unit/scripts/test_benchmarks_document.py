"""Documents on performance show recorded figures and existing settings."""

from __future__ import annotations

import re

import pytest

from enrich_dist.settings import Settings
from scripts.benchmark_enrichment import PROFILES
from scripts.benchmarks_document import DOCUMENT, PARTS, render
from scripts.measuring import latest_record
from tests.conftest import REPOSITORY

GUIDE = (REPOSITORY / "docs" / "how-to" / "tune.md").read_text("utf-8")


def test_tables_show_recorded_figures() -> None:
    text = DOCUMENT.read_text("utf-8")

    assert set(re.findall(r"<!-- part: (\w+),", text)) == set(PARTS)
    assert render(text) == text, "run: python -m scripts.benchmarks_document"
    assert render(text.replace("peak per worker", "peak")) != text.replace("peak per worker", "peak")


def test_guide_names_existing_settings() -> None:
    known = Settings().flat().keys()
    table = GUIDE.split("## When to change a setting")[1]
    named = set(re.findall(r"^\| (`.*?`) \|", table, flags=re.MULTILINE))
    keys = {key for cell in named for key in re.findall(r"`([\w.]+)`", cell)}

    assert len(keys) >= 15
    assert keys - known == set()


@pytest.mark.parametrize("name", ["memory-constrained", "performance-optimised"])
def test_guide_examples_were_measured(name: str) -> None:
    _, document = latest_record("settings")
    measured = document["profiles"][name]["settings"]
    (block,) = re.findall(rf"\*\*{name}\.\*\*.*?```sh\n(.*?)\n```", GUIDE, flags=re.DOTALL | re.IGNORECASE)

    assert dict(re.findall(r"--set ([\w.]+)=(\d+)", block)) == {key: str(value) for key, value in measured.items()}
    assert set(measured) == {key for profile in PROFILES if profile.name == name for key in profile.settings}
