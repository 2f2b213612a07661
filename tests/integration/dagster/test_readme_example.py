"""The README's example rows are what a run of the bundled sample publishes."""

from __future__ import annotations

import re

import duckdb

from tests.conftest import REPOSITORY, SampleRuns

_ROW = re.compile(
    r"^\| (?P<award>[^|]+), [^|,]+ \| (?P<recipient>[^|]+) \| (?P<status>matched|review), (?P<percent>[\d.]+)% \|$"
)


def test_example_rows_are_published(sample_runs: SampleRuns) -> None:
    rows = [match for line in (REPOSITORY / "README.md").read_text("utf-8").splitlines() if (match := _ROW.match(line))]
    assert len(rows) == 2
    database = sample_runs.work_dir / "published" / "current" / "enrich_dist.duckdb"
    with duckdb.connect(str(database), read_only=True) as connection:
        for row in rows:
            found = connection.execute(
                "select recipient_name, match_status, round(100 * match_probability, 1) from company_matches "
                "where company_name = ?",
                [row["award"]],
            ).fetchall()
            recipient, status, percent = found[0]
            assert len(found) == 1
            assert row["recipient"].startswith(recipient)
            assert (status, percent) == (row["status"], float(row["percent"]))
