"""Warm-up of a process: imports the modules of matching, and compiles or loads every kernel."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory


def warm_up() -> None:
    """Match one recipient with one company. Takes seconds, or a minute if nothing is compiled yet."""
    import numpy as np
    import pyarrow as pa

    from enrich_dist import schema
    from enrich_dist.matching.blocking import prepare
    from enrich_dist.matching.blocks import BlockCounts
    from enrich_dist.matching.index import build_index
    from enrich_dist.matching.kernels.clusters import assign_clusters
    from enrich_dist.matching.matcher import OrganisationMatcher

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
        "name": "ACME WIDGETS WORKS (AWW) LLC",
        "alternate_names": [],
        "address_line_1": "1 MAIN STREET",
        "city": "DAYTON",
        "state": "OH",
        "zip5": "45402",
    }
    with TemporaryDirectory() as name:
        build_index(pa.Table.from_pylist([company], schema=schema.COMPANY), Path(name))
        matcher = OrganisationMatcher()
        index = matcher.open_index(Path(name))
        recipients = pa.Table.from_pylist([recipient], schema=schema.RECIPIENT)
        matcher.match(index, recipients)
        BlockCounts(index, matcher.config).add(prepare(index, recipients))
    codes = np.zeros(0, dtype=np.int64)
    assign_clusters(np.zeros(1, dtype=np.int64), codes, np.zeros(0), codes, codes, codes, 0.0)
