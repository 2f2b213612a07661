"""A small run with companies in review, and commands that fill and import their sheet."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from distributed import Client

from enrich_dist.cli.main import main
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.results.overrides import read_decisions
from enrich_dist.settings import Settings, load_settings
from enrich_dist.store.run_directory import Output
from tests.conftest import run_steps
from tests.support.known_case import AWARD_HEADER, RECIPIENT_NAMES

Place = tuple[str, str, str, str]  # street, city, state, ZIP code

TAMPA, RENO = ("", "TAMPA", "FL", "33601"), ("", "RENO", "NV", "89501")
# (company, awards, UEI, DUNS, place)
COMPANIES: list[tuple[str, int, str, str, Place]] = [
    ("Ambiguous Optics", 3, "", "", TAMPA),
    ("Ambivalent Lasers", 3, "", "", TAMPA),
    ("Quartet Gyroscopes", 8, "", "", ("12 Main St", "RENO", "NV", "89501")),
    ("Doubled Catalysis", 2, "", "", TAMPA),
    ("@Formula Bolometry", 1, "", "", RENO),
    ("Contrary Propulsion", 1, "QK7QM2QP9QW6", "222333444", ("", "MESA", "AZ", "85201")),
    ("Kitware & Sons, Inc.", 5, "EK7EM2EP9EW5", "", ("1 Main St", "CLIFTON PARK", "NY", "12065")),
    ("Spectrographic Dynamometry", 4, "GK7GM2GP9GW7", "", TAMPA),
    ("Nobody Knows Us Corporation", 1, "", "", ("", "NOME", "AK", "99762")),
]
# (recipient, name, UEI, DUNS, place)
RECIPIENTS: list[tuple[str, str, str | None, str | None, Place]] = [
    ("r-optics-a", "AMBIGUOUS OPTICS LLC", "KK7KM2KP9KW1", None, TAMPA),
    ("r-optics-b", "AMBIGUOUS OPTICS INC", "LK7LM2LP9LW2", None, TAMPA),
    ("r-lasers-a", "AMBIVALENT LASERS", "MK7MM2MP9MW3", None, TAMPA),
    ("r-lasers-b", "AMBIVALENT LASERS", "NK7NM2NP9NW4", None, TAMPA),
    *((f"r-quartet-{n}", "QUARTET GYROSCOPES", f"PK7PM2PP9PW{n}", None, ("12 MAIN ST", "RENO", "NV", "89501"))
      for n in range(1, 5)),
    ("r-doubled-a1", "DOUBLED CATALYSIS", "RK7RM2RP9RW7", None, TAMPA),
    ("r-doubled-a2", "DOUBLED CATALYSIS", "RK7RM2RP9RW7", None, TAMPA),
    ("r-doubled-b", "DOUBLED CATALYSIS", "SK7SM2SP9SW8", None, TAMPA),
    ("r-formula-a", "FORMULA BOLOMETRY", "TK7TM2TP9TW9", None, RENO),
    ("r-formula-b", "FORMULA BOLOMETRY", "UK7UM2UP9UW1", None, RENO),
    ("r-contrary", "CONTRARY PROPULSION", "VK7VM2VP9VW2", "555666777", ("", "YUMA", "AZ", "85364")),
    ("r-kitware", "KITWARE AND SONS INCORPORATED", "EK7EM2EP9EW5", None, ("1 MAIN STREET", "CLIFTON PARK", "NY",
                                                                         "12065")),
    ("r-spectro", "SPECTROGRAPHIC DYNAMOMETRY", "GK7GM2GP9GW7", None, TAMPA),
    *((f"r-noise-{n}", f"UNRELATED VENDOR NUMBER {n} {chr(65 + n % 26) * 3}", None, None,
       ("7 FARNAM ST", "OMAHA", "NE", "68102")) for n in range(34)),
]  # fmt: skip


@dataclass(frozen=True)
class Reviewed:
    """A published run, with its settings file."""

    settings: Settings
    config: Path

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(self.settings, "test")

    def reset(self) -> None:
        """Remove all decisions, and publish the first result again."""
        self.pipeline.directory.overrides.unlink(missing_ok=True)
        self.pipeline.enrich_awards()
        self.pipeline.publish_awards()

    def matches(self) -> dict[str, dict[str, object]]:
        """Return the match of every company in the latest result, by company name."""
        file = self.pipeline.directory.output(Output.RESULT) / "company_matches.parquet"
        return {row["company_name"]: row for row in pq.read_table(file).to_pylist()}

    def published(self) -> dict[str, dict[str, object]]:
        """Return a published award of every company, by company name."""
        file = self.pipeline.directory.published / "current" / "enriched_awards.parquet"
        return {row["company"]: row for row in pq.read_table(file).to_pylist()}

    def decisions(self) -> list[tuple[str, str, str]]:
        """Return the stored decisions."""
        return [tuple(row.values()) for row in read_decisions(self.pipeline.directory.overrides).to_pylist()]


def finished_run(folder: Path, client: Callable[[], Client]) -> Reviewed:
    """Run all steps on the case; the quality gate passes by default."""
    awards, recipients = _write_inputs(folder)
    document = {
        "inputs": {"awards": str(awards), "recipients": str(recipients)},
        "paths": {"work_dir": str(folder / "work")},
        "chunk_size": 10,
        "match_rate_threshold": 0.2,
        "min_estimated_precision": 0.0,
    }
    config = folder / "settings.yaml"
    config.write_text(yaml.safe_dump(document), "utf-8")
    settings = load_settings(config, environ={}).settings
    run_steps(settings, client)
    return Reviewed(settings, config)


def _write_inputs(folder: Path) -> tuple[Path, Path]:
    awards, recipients = folder / "awards.csv", folder / "recipients.parquet"
    with awards.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(AWARD_HEADER)
        for name, count, uei, duns, place in COMPANIES:
            for number in range(count):
                known = ["Department of Energy", "Phase I", 2000 + number, "150,000", uei, duns]
                writer.writerow([name, f"Award {number}", *known, *place])
    columns = {
        "recipient_hash": [row[0] for row in RECIPIENTS],
        "legal_business_name": [row[1] for row in RECIPIENTS],
        "uei": [row[2] for row in RECIPIENTS],
        "duns": [row[3] for row in RECIPIENTS],
        **{
            name: [row[4][position] or None for row in RECIPIENTS]
            for position, name in enumerate(("address_line_1", "city", "state", "zip5"))
        },
        "alternate_names": [None] * len(RECIPIENTS),
    }
    types = {name: pa.string() for name in RECIPIENT_NAMES} | {"alternate_names": pa.list_(pa.string())}
    pq.write_table(pa.table({name: pa.array(columns[name], types[name]) for name in RECIPIENT_NAMES}), recipients)
    return awards, recipients


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        return list(csv.DictReader(handle))


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@dataclass
class CommandLine:
    """Run a command in this process; return its exit code, standard output and standard error."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        self.monkeypatch.setattr("sys.argv", ["enrich-dist", *map(str, arguments)])
        self.monkeypatch.setenv("COLUMNS", "400")
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err
        return int(ended.value.code or 0), out, err
