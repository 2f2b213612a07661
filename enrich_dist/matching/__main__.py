"""``python -m enrich_dist.matching`` compiles all kernels into their cache, so that no run waits for it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from enrich_dist import schema
from enrich_dist.matching import OrganisationMatcher
from enrich_dist.matching.index import build_index


def main() -> None:
    """Match one recipient with one company, which uses every kernel."""
    place = {"address": "1 Main St", "city": "Dayton", "state": "OH", "zip5": "45402"}
    company = {
        "company_id": 0,
        "company_key": "0",
        "name": "Acme Widget Works, Inc.",
        "names": [],
        "ueis": [],
        "duns": [],
        "locations": [place],
        "award_count": 1,
    }
    recipient = {
        "source_row": 1,
        "recipient_id": "1",
        "name": "ACME WIDGETS WORKS LLC",
        "alternate_names": [],
        "address_line_1": "1 MAIN STREET",
        "city": "DAYTON",
        "state": "OH",
        "zip5": "45402",
    }
    with TemporaryDirectory() as name:
        build_index(pa.Table.from_pylist([company], schema=schema.COMPANY), Path(name))
        matcher = OrganisationMatcher()
        matcher.match(matcher.open_index(Path(name)), pa.Table.from_pylist([recipient], schema=schema.RECIPIENT))


if __name__ == "__main__":
    main()
