"""A run with a company whose name would be markup, for tests of the report."""

from __future__ import annotations

from pathlib import Path

from enrich_dist.pipeline import Pipeline
from enrich_dist.settings import Settings
from tests.inprocess import run_in_process
from tests.known import settings, write_inputs

HOSTILE_NAME = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"


def hostile_settings(folder: Path) -> Settings:
    """The known case, in which a company and an agency bear that name."""
    awards, recipients = write_inputs(folder / "inputs")
    text = awards.read_text("utf-8").replace("Nobody Knows Us Corporation", HOSTILE_NAME)
    awards.write_text(text.replace("Department of Energy", HOSTILE_NAME), "utf-8")
    return settings(folder, inputs=(awards, recipients))


def hostile_run(folder: Path) -> Pipeline:
    """That case up to the judged result and its report."""
    pipeline = run_in_process(hostile_settings(folder))
    pipeline.finish()
    return pipeline
