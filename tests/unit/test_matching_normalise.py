"""Normalised names, streets and cities: one row per kind of difference seen in real records."""

from __future__ import annotations

import pyarrow as pa
import pytest

from enrich_dist.matching.normalise import normalise_cities, normalise_codes, normalise_names, normalise_streets


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ("K T Engineering, Inc.", "KT ENGINEERING"),
        ("KT ENGINEERING", "KT ENGINEERING"),
        ("G D A", "GDA"),
        ("UCT DEFENSE, LLC", "UCT DEFENSE"),
        ("U C T DEFENSE LIMITED LIABILITY COMPANY", "UCT DEFENSE"),
        ("A.B.C. L.L.C.", "ABC"),
        ("N.P. PHOTONICS, INC.", "NP PHOTONICS"),
        ("A B MIDDLE C D", "AB MIDDLE CD"),
        ("AT&amp;T", "AT AND T"),
        ("Smith &amp;amp; Co.", "SMITH"),
        ("O&#39;Neil &amp;#39;s", "ONEIL S"),
        ("Caf&eacute; Z&uuml;rich", "CAFE ZURICH"),
        ("Café Übersee GmbH", "CAFE UBERSEE"),
        ("Weiß Ørsted™", "WEISS ORSTED"),
        ("HALL'S PUMP & WELL, INC.", "HALLS PUMP AND WELL"),
        ("Survice Engineering Company, The", "SURVICE ENGINEERING"),
        ("The Survice Engineering Co LLC", "SURVICE ENGINEERING"),
        ("T H E Acme", "ACME"),
        ("Acme C O", "ACME"),
        ("LIMITED LIABILITY COMPANY", "LIMITED LIABILITY COMPANY"),
        ("The L.L.C.", "LLC"),
        ("Incubator Systems", "INCUBATOR SYSTEMS"),
        ("THE", "THE"),
        ("  ", None),
        ("***", None),
        ("北京", None),
        ("", None),
        (None, None),
    ],
)
def test_name(raw: str | None, normalised: str | None) -> None:
    assert normalise_names(pa.array([raw], pa.string())).to_pylist() == [normalised]


def test_names_of_chunks_slices_and_none_at_all() -> None:
    chunked = pa.chunked_array([["Acme Inc"], [], [None, "Beta LLC"]], pa.string())
    assert normalise_names(chunked).to_pylist() == ["ACME", None, "BETA"]
    assert normalise_names(chunked.slice(2)).to_pylist() == ["BETA"]
    assert normalise_names(pa.array(["x", "Acme Inc", "y"]).slice(1, 1)).to_pylist() == ["ACME"]
    assert normalise_names(pa.chunked_array([], pa.string())).to_pylist() == []
    assert normalise_names(pa.nulls(2, pa.string())).to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("line_1", "line_2", "normalised"),
    [
        ("5717 Huberville Avenue", None, "5717 HUBERVILLE AVE"),
        ("5717 Huberville Avenue Suite 300", None, "5717 HUBERVILLE AVE"),
        ("5717 Huberville Ave.", "Suite 300", "5717 HUBERVILLE AVE"),
        ("9030 South Rita Road, #120", None, "9030 S RITA RD"),
        ("63 Flushing Avenue, Building 128", None, "63 FLUSHING AVE"),
        ("1 Main St, 3rd Floor", None, "1 MAIN ST"),
        ("One Mifflin Place", None, "1 MIFFLIN PL"),
        ("P.O. Box 618", None, "PO BOX 618"),
        (None, "12 Oak Street", "12 OAK ST"),
        ("Suite 4", None, None),
        ("", "", None),
        (None, None, None),
    ],
)
def test_street(line_1: str | None, line_2: str | None, normalised: str | None) -> None:
    lines = (pa.array([line], pa.string()) for line in (line_1, line_2))
    assert normalise_streets(*lines).to_pylist() == [normalised]


def test_cities_keep_their_rows_between_nulls() -> None:
    cities = pa.array([None, "St. Louis", "", "Saint  Louis", None, "Fort Worth"])
    assert normalise_cities(cities).to_pylist() == [None, "ST LOUIS", None, "ST LOUIS", None, "FT WORTH"]


def test_codes_that_do_not_fit_are_missing() -> None:
    codes = pa.array([" ab ", "ABC", None, "", "Va"])
    assert normalise_codes(codes, "[A-Z]{2}").to_pylist() == ["AB", None, None, None, "VA"]
