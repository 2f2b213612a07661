"""A hand-made case with a known answer for each tier of the cascade and each way not to match.

Every award names its expected status, method and recipient in its title, so that a failing test explains itself.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.settings import Settings

AWARD_HEADER = [
    "Company", "Award Title", "Agency", "Phase", "Award Year", "Award Amount", "UEI", "Duns",
    "Address1", "City", "State", "Zip",
]  # fmt: skip
RECIPIENT_NAMES = [
    "recipient_hash", "legal_business_name", "uei", "duns", "address_line_1", "city", "state", "zip5",
    "alternate_names",
]  # fmt: skip


@dataclass(frozen=True)
class Award:
    """An award with what is expected of it."""

    company: str
    status: str
    method: str | None = None
    recipient: str | None = None
    probability: tuple[float, float] | None = None  # bounds, where it is not that of a certain match
    uei: str = ""
    duns: str = ""
    address: str = ""
    city: str = ""
    state: str = ""
    zip_code: str = ""
    year: int = 2020
    agency: str = "Department of Energy"


AWARDS = [
    # UEI decides, whatever the name says.
    Award("Renamed Photonics Inc", "matched", "uei", "r-uei", uei="AK7AM2AP9AW1", city="Troy", state="MI"),
    # An older award of the same firm has only its DUNS in common with the newer one, and inherits the match.
    Award("Twin Identifiers LLC", "matched", "uei", "r-twin", uei="BK7BM2BP9BW2", duns="111222333", state="OH"),
    Award("TWIN IDENTIFIERS", "matched", "uei", "r-twin", duns="11-122-2333", state="TX", year=1999),
    # DUNS alone, written with a lost leading zero.
    Award("Duns Only Systems", "matched", "duns", "r-duns", duns="45678901", city="Boise", state="ID"),
    # Equal after normalisation, same town.
    Award(
        "Kitware &amp; Sons, Inc.", "matched", "exact_name_place", "r-exact", address="1 Main St", city="Clifton Park",
        state="NY", zip_code="12065",
    ),
    # An alternate name of the recipient.
    Award(
        "Old Name Robotics", "matched", "exact_name_place", "r-alternate", city="Austin", state="TX",
        zip_code="78701-1234",
    ),
    # A slip of the pen, same street and town.
    Award(
        "Spectral Dynamics Researh LLC", "matched", "fuzzy_name_place", "r-fuzzy", address="77 Hill Road",
        city="Boulder", state="CO", zip_code="80301",
    ),
    # Two franchises of one name: the place decides.
    Award(
        "Common Name Labs", "matched", "exact_name_place", "r-franchise-b", city="Reno", state="NV", zip_code="89501"
    ),
    # The same name twice in one town: nothing decides, so that each is as probable as the other.
    Award("Ambiguous Optics", "review", probability=(0.45, 0.5), city="Tampa", state="FL", zip_code="33601"),
    # A rare name, and the only one of it is elsewhere: it moved, more probably than not.
    Award(
        "Moved Materials Inc", "matched", "exact_name", "r-moved", (0.68, 0.98), city="Salem", state="OR",
        zip_code="97301",
    ),
    # A rare name, twice in other places: one of them probably moved, but which is unknown.
    Award("Wandering Robotics", "review", probability=(0.35, 0.5), city="Bend", state="OR", zip_code="97701"),
    # The recipient has no place, but no other recipient has the name.
    Award(
        "Placeless Analytics", "matched", "exact_name", "r-placeless", city="Provo", state="UT", zip_code="84601"
    ),
    # The same name twice in one town, and one has another UEI than the award: it is the other one.
    Award(
        "Conflict Aerospace", "matched", "exact_name_place", "r-conflict-none", (0.9, 1.0), uei="CK7CM2CP9CW3",
        city="Mesa", state="AZ", zip_code="85201",
    ),
    # The name is there, but in another town and under another UEI.
    Award(
        "Contrary Propulsion", "review", probability=(0.05, 0.5), uei="QK7QM2QP9QW6", duns="222333444", city="Mesa",
        state="AZ", zip_code="85201",
    ),
    # A name cut short by one of the sources, and one behind DBA.
    Award(
        "Hypersonic Cryogenic Instrumentation Inc", "matched", "fuzzy_name_place", "r-cut", city="Huntsville",
        state="AL", zip_code="35801",
    ),
    Award(
        "Zelkova Holdings LLC dba Tamarack Imaging", "matched", "exact_name_place", "r-dba", city="Duluth", state="MN",
        zip_code="55802",
    ),
    # Similar name of another firm in the next town.
    Award("Omni Measurement Systems", "unmatched", city="Milton", state="VT", zip_code="05468"),
    # Another name at the very same address, of which another company has the name: it is proposed, never accepted.
    Award(
        "Quixotic Biomedical", "review", probability=(0.15, 0.15), address="77 Hill Road", city="Boulder", state="CO",
        zip_code="80301",
    ),
    # No partner at all.
    Award("Nobody Knows Us Corporation", "unmatched", city="Nome", state="AK", zip_code="99762"),
]  # fmt: skip

_RECIPIENTS: list[tuple[str, str | None, str | None, str | None, str | None, str | None, str | None, str | None,
                        list[str] | None]] = [
    ("r-uei", "ENTIRELY DIFFERENT NAME LLC", "AK7AM2AP9AW1", None, None, "TROY", "MI", "48083", None),
    ("r-twin", "TWIN IDENTIFIERS LLC", "BK7BM2BP9BW2", None, None, "DAYTON", "OH", "45431", None),
    ("r-duns", "DUNS ONLY SYSTEMS INC", "DK7DM2DP9DW4", "045678901", None, "BOISE", "ID", "83702", None),
    ("r-exact", "KITWARE AND SONS INCORPORATED", "EK7EM2EP9EW5", None, "1 MAIN STREET", "CLIFTON PARK", "NY", "12065",
     []),
    ("r-alternate", "NEW NAME ROBOTICS INC", "FK7FM2FP9FW6", None, None, "AUSTIN", "TX", "78701",
     ["OLD NAME ROBOTICS, INC."]),
    ("r-fuzzy", "SPECTRAL DYNAMICS RESEARCH LLC", "GK7GM2GP9GW7", None, "77 HILL RD", "BOULDER", "CO", "80301", None),
    ("r-franchise-a", "COMMON NAME LABS", "HK7HM2HP9HW8", None, None, "MIAMI", "FL", "33101", None),
    ("r-franchise-b", "COMMON NAME LABS", "JK7JM2JP9JW9", None, None, "RENO", "NV", "89501", None),
    ("r-ambiguous-a", "AMBIGUOUS OPTICS LLC", "KK7KM2KP9KW1", None, None, "TAMPA", "FL", "33601", None),
    ("r-ambiguous-b", "AMBIGUOUS OPTICS INC", "LK7LM2LP9LW2", None, None, "TAMPA", "FL", "33601", None),
    ("r-moved", "MOVED MATERIALS INC", "MK7MM2MP9MW3", None, None, "BANGOR", "ME", "04401", None),
    ("r-wandering-a", "WANDERING ROBOTICS", "RK7RM2RP9RW7", None, None, "SALEM", "OR", "97301", None),
    ("r-wandering-b", "WANDERING ROBOTICS", "SK7SM2SP9SW8", None, None, "EUGENE", "OR", "97401", None),
    ("r-placeless", "PLACELESS ANALYTICS", None, None, None, None, None, None, None),
    ("r-conflict-other", "CONFLICT AEROSPACE", "NK7NM2NP9NW4", None, "4 FIRST AVE", "MESA", "AZ", "85201", None),
    ("r-conflict-none", "CONFLICT AEROSPACE", None, None, "9 LAST AVE", "MESA", "AZ", "85201", None),
    ("r-contrary", "CONTRARY PROPULSION", "TK7TM2TP9TW9", "555666777", None, "YUMA", "AZ", "85364", None),
    ("r-cut", "HYPERSONIC CRYOGENIC INSTRUMEN", "UK7UM2UP9UW1", None, None, "HUNTSVILLE", "AL", "35801", None),
    ("r-dba", "TAMARACK IMAGING INC", "VK7VM2VP9VW2", None, None, "DULUTH", "MN", "55802", None),
    ("r-omni", "OMNI MEDICAL SYSTEMS, INC.", "PK7PM2PP9PW5", None, None, "BURLINGTON", "VT", "05401", None),
    *((f"r-noise-{n}", f"UNRELATED VENDOR NUMBER {n} {chr(65 + n % 26) * 3}", None, None, None, "OMAHA", "NE",
       "68102", None) for n in range(34)),
    ("r-nobody", None, None, None, None, "OMAHA", "NE", "68102", None),  # rejected: neither name nor identifier
]  # fmt: skip
RECIPIENT_ROWS, REJECTED_RECIPIENT_ROWS = len(_RECIPIENTS), 1
AWARD_ROWS, REJECTED_AWARD_ROWS = len(AWARDS) + 2, 2  # a blank row and a duplicate follow the awards


def write_inputs(folder: Path, *, reverse_recipients: bool = False) -> tuple[Path, Path]:
    """Write the awards as CSV and the recipients as Parquet; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    awards, recipients = folder / "awards.csv", folder / "recipients.parquet"
    with awards.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(AWARD_HEADER)
        for item in AWARDS:
            title = f"{item.status} {item.method} {item.recipient}"
            place = [item.address, item.city, item.state, item.zip_code]
            known = [item.agency, "Phase I", item.year, "150,000", item.uei, item.duns]
            row = [item.company, title, *known, *place]
            writer.writerow(row)
        writer.writerow([""] * len(AWARD_HEADER))
        writer.writerow(row)
    rows = list(reversed(_RECIPIENTS)) if reverse_recipients else _RECIPIENTS
    columns = dict(zip(RECIPIENT_NAMES, zip(*rows, strict=True), strict=True))
    types = {name: pa.string() for name in RECIPIENT_NAMES} | {"alternate_names": pa.list_(pa.string())}
    pq.write_table(pa.table({name: pa.array(columns[name], types[name]) for name in RECIPIENT_NAMES}), recipients)
    return awards, recipients


def injected_faults() -> dict[str, Any]:
    """Settings by which attempts fail on purpose, with the share of the variable FAULT_PROBABILITY; empty
    without it."""
    probability = float(os.environ.get("FAULT_PROBABILITY", "0"))
    if not probability:
        return {}
    # A chunk may fail three times by chance, and chunks of a few rows are split into single rows.
    farm = {"max_attempts": 10, "min_part_rows": 1}
    return {"testing": {"fault_probability": probability}, "farm": farm}


def settings(folder: Path, *, inputs: tuple[Path | str, Path | str] | None = None, **values: Any) -> Settings:
    """Settings of a run on the known case, everything under ``folder``; the gate is open unless set. Under
    ``make test-injected-faults`` attempts fail at random."""
    awards, recipients = inputs or write_inputs(folder / "inputs")
    return Settings(
        **{
            **injected_faults(),
            "inputs": {"awards": awards, "recipients": recipients},
            "paths": {"work_dir": folder / "work"},
            "chunk_size": 10,
            "match_rate_threshold": 0.5,
            **values,
        }
    )
