"""Measure what award downloads add: companies whose partner bears another name, with and without its former names.

    python -m scripts.measure_former_names                   planted truth, 60,000 x 8,000

Identifiers of the companies are hidden. Of the renamed partners a download records some (``generator.downloads``).
Reports, at the default thresholds, how many of the recorded ones are matched or in review, and the precision of all.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrich_dist.core.tables import markdown_table
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.pipeline.linking import link
from enrich_dist.sources.name_history import NameHistory, NameInput
from scripts.generator.downloads import write_award_download
from scripts.measuring import generate_case


def main() -> None:
    """Measure a case and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipients", type=int, default=60_000)
    parser.add_argument("--companies", type=int, default=8_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="enrich-former-") as name:
        directory = generate_case(
            Path(name) / "case", recipients=options.recipients, companies=options.companies, seed=options.seed
        )
        print(measure(directory, seed=options.seed))


def measure(directory: Path, *, seed: int) -> str:
    """Link the case with and without the download; return the figures as a table."""
    download = write_award_download(directory, seed=seed)
    left, right = directory / "left.parquet", directory / "right.parquet"
    organisations = pq.read_table(directory / "organisations.parquet").drop_columns(["uei", "duns"])
    pq.write_table(organisations, left)
    recipients = pq.read_table(directory / "recipients.parquet")
    pq.write_table(recipients.append_column("id", recipients["recipient_hash"]).drop_columns(["recipient_hash"]), right)
    recorded = _recorded(directory, download)
    truth = {
        row["company"]: {*row["acceptable"], row["recipient_hash"]} - {None}
        for row in pq.read_table(directory / "truth.parquet").to_pylist()
    }
    figures = {
        title: _figures(directory, left, right, names, truth, recorded)
        for title, names in (("without", ()), ("with", (download,)))
    }
    rows = [(figure, *(found[figure] for found in figures.values())) for figure in figures["without"]]
    return markdown_table(("figure", *(f"{title} former names" for title in figures)), rows)


def _recorded(directory: Path, download: Path) -> set[str]:
    """Return the companies with another name than their partner whose name is a former one in the download."""
    with NameHistory([NameInput(download)]).open(directory / "scratch") as names:
        names.connection.register("truth", pq.read_table(directory / "truth.parquet"))
        rows = names.connection.execute(
            """
            select distinct company from truth join read_parquet($recipients) r using (recipient_hash)
            join read_parquet($organisations) o on o.id = company
            join history h on h.uei = r.uei and h.kind = 'recipient' and h.name <> r.legal_business_name
            where split_part(truth.kind, '+', 1) = 'renamed'
            """,
            {name: str(directory / f"{name}.parquet") for name in ("recipients", "organisations")},
        ).fetchall()
    return {company for (company,) in rows}


def _figures(
    directory: Path, left: Path, right: Path, names: tuple[Path, ...], truth: dict[str, set[str]], recorded: set[str]
) -> dict[str, Any]:
    out = directory / "links.parquet"
    link(
        left, right, out, left_columns={}, right_columns={}, candidates=CandidateConfig(), decision=DecisionConfig(),
        with_review=True, names=names,
    )  # fmt: skip
    links = pq.read_table(out)
    right_link = pa.array(
        [
            right_id in truth[left_id]
            for left_id, right_id in zip(*links.select([0, 6]).to_pydict().values(), strict=True)
        ]
    )
    of_recorded = pc.is_in(links["left_id"], value_set=pa.array(sorted(recorded), pa.string()))
    matched = pc.equal(links["status"], "matched")

    def count(*masks: Any) -> int:
        found = masks[0]
        for mask in masks[1:]:
            found = pc.and_(found, mask)
        return int(pc.sum(found).as_py() or 0)

    partners = sum(bool(acceptable) for acceptable in truth.values())
    none = pa.array([not truth[left_id] for left_id in links["left_id"].to_pylist()])
    return {
        "renamed and recorded": len(recorded),
        "of these matched": count(of_recorded, matched, right_link),
        "of these in review": count(of_recorded, pc.invert(matched), right_link),
        "of these matched wrongly": count(of_recorded, matched, pc.invert(right_link)),
        "precision": f"{count(matched, right_link) / max(count(matched), 1):.4f}",
        "recall": f"{count(matched, right_link) / partners:.4f}",
        "matched without a partner": count(matched, none),
    }


if __name__ == "__main__":
    main()
