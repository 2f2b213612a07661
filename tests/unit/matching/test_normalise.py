"""Normalised names, streets and cities: one row per kind of difference seen in real records."""

from __future__ import annotations

import pyarrow as pa
import pytest

from enrich_dist.matching.normalise import (
    normalise_cities,
    normalise_codes,
    normalise_names,
    normalise_streets,
    split_names,
)


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
        ("OCEAN SYSTEMS ENGINEERING CORP.(OSEC)", "OCEAN SYSTEMS ENGINEERING"),
        ("Science And Technology In Atmospheric Research (STAR) LLC", "SCIENCE AND TECHNOLOGY IN ATMOSPHERIC RESEARCH"),
        ("(ES3) Engineering &amp; Software System Solu", "ENGINEERING AND SOFTWARE SYSTEM SOLU"),
        ("Critical Communications Controls & Instruments ( C3I )", "CRITICAL COMMUNICATIONS CONTROLS AND INSTRUMENTS"),
        ("SUMITOMO (SHI) CRYOGENICS", "SUMITOMO SHI CRYOGENICS"),  # not the initials
        ("UNITED SYSTEMS (US) INC", "UNITED SYSTEMS US"),  # two letters are a country as often
        ("ULTRA SMALL ARMS OF THE GREAT STATE OF OHIO (USA)", "ULTRA SMALL ARMS OF THE GREAT STATE OF OHIO USA"),
        ("DIGICEL (JAMAICA) LTD.", "DIGICEL JAMAICA"),
        ("ROCAL CORPORATION (", "ROCAL"),
        ("Metal) (", "METAL"),
        ("(ABC)", "ABC"),
        ("LIMITED LIABILITY COMPANY", "LIMITED LIABILITY COMPANY"),
        ("The L.L.C.", "LLC"),
        ("Incubator Systems", "INCUBATOR SYSTEMS"),
        ("Intl Mfg & Engrg Svcs", "INTERNATIONAL MANUFACTURING AND ENGINEERING SERVICES"),
        ("Assn of Univ Hosp", "ASSOCIATION OF UNIVERSITY HOSPITAL"),
        ("Advanced Tech Lab", "ADVANCED TECH LAB"),  # stand for several words
        ("Acquisition II, LLC", "ACQUISITION 2"),
        ("Acquisition IX", "ACQUISITION 9"),
        ("V Acquisition X", "V ACQUISITION X"),  # initials as well as numbers
        ("AT&T", "AT AND T"),
        ("R & D Labs", "R AND D LABS"),
        ("O'Neill's", "ONEILLS"),
        ("O`Neill’s", "ONEILLS"),
        ("Rock 'n' Roll", "ROCK N ROLL"),
        ("Foo & Company, Inc.", "FOO"),
        ("Foo S.A. de C.V.", "FOO"),
        ("Foo P.A.", "FOO"),
        ("Foo PA", "FOO PA"),
        ("Arcelik Anonim Sirketi", "ARCELIK"),
        ("Henkel KG auf Aktien", "HENKEL"),
        ("Schering Aktiengesellschaft", "SCHERING"),
        ("Foo Sp. z o.o.", "FOO"),
        ("Foo Sp. z o.o. Sp.k.", "FOO"),
        ("Foo Kabushiki Kaisha", "FOO"),
        ("Foo GmbH & Co. KG", "FOO"),
        ("Foo Gesellschaft mit beschränkter Haftung", "FOO"),
        ("Foo Ltda.", "FOO"),
        ("Foo Pte. Ltd.", "FOO"),
        ("Foo Sdn. Bhd.", "FOO"),
        ("Foo S.p.A.", "FOO"),
        ("Foo SpA", "FOO"),
        ("Foo Resort & Spa", "FOO RESORT AND SPA"),
        ("Foo d.o.o.", "FOO"),
        ("Foo S. de R.L. de C.V.", "FOO"),
        ("Foo U.S.A., Inc.", "FOO USA"),  # no S. A.
        ("LLC Foo Works", "FOO WORKS"),
        ("N.V. Foo", "FOO"),
        ("N V P Associates", "NVP ASSOCIATES"),  # initials
        ("NV Energy", "NV ENERGY"),
        ("UAB Foo", "FOO"),
        ("Sabiedriba ar Ierobezotu Atbildibu Foo", "FOO"),
        ("SA Smart Solutions", "SA SMART SOLUTIONS"),
        ("AS Cole", "AS COLE"),
        ("AB Cole", "AB COLE"),
        ("SE Sales", "SE SALES"),
        ("Co Springs", "CO SPRINGS"),
        ("UAB", "UAB"),
        ("L.L.C. & Co", "LLC AND CO"),
        ("LLC Inc", "LLC INC"),
        ("The Co", "CO"),
        ("& Co", "AND CO"),
        ("&", "AND"),
        ("THE", "THE"),
        ("  ", None),
        ("***", None),
        ("北京", "北京"),
        ("", None),
        (None, None),
    ],
)
def test_name(raw: str | None, normalised: str | None) -> None:
    assert normalise_names(pa.array([raw], pa.string())).to_pylist() == [normalised]


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("Acme Inc dba Beta LLC", ["ACME", "BETA"]),
        ("Acme d/b/a Beta", ["ACME", "BETA"]),
        ("ACME D.B.A. BETA", ["ACME", "BETA"]),
        ("Acme, doing business as Beta Works", ["ACME", "BETA WORKS"]),
        ("Acme trading as Beta", ["ACME", "BETA"]),
        ("Beta Corp (formerly Acme Corp)", ["BETA", "ACME"]),
        ("Beta formerly known as Acme", ["BETA", "ACME"]),
        ("Beta f/k/a Acme n/k/a Gamma", ["BETA", "ACME", "GAMMA"]),
        ("Acme AKA The Beta Co aka Gamma", ["ACME", "BETA", "GAMMA"]),
        ("Acme also known as Beta", ["ACME", "BETA"]),
        ("Inc dba LLC", ["INC", "LLC"]),
        ("dba Beta", ["BETA"]),  # a marker with nothing before it
        ("Acme dba", ["ACME"]),  # or behind it
        ("Acme dba dba Beta", ["ACME", "BETA"]),
        ("DBA", ["DBA"]),  # alone it is the name
        ("A B D B A", ["ABDBA"]),  # among initials it is none
        ("Dbase Systems", ["DBASE SYSTEMS"]),
        ("Acme", ["ACME"]),
        ("***", []),
        (None, []),
    ],
)
def test_a_text_may_contain_several_names(raw: str | None, names: list[str]) -> None:
    found = split_names(pa.array(["Before", raw, "After"], pa.string()))
    assert found["name"].to_pylist() == ["BEFORE", *names, "AFTER"]
    assert found["row"].to_pylist() == [0, *[1] * len(names), 2]
    assert found["further"].to_pylist() == [False, *[number > 0 for number in range(len(names))], False]
    assert normalise_names(pa.array([raw], pa.string())).to_pylist() == (names[:1] or [None])


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("Brindle-Ops / Tarrow", ["BRINDLE OPS TARROW", "BRINDLE OPS", "TARROW"]),
        ("Brindle Ltd / Tarrow Sales", ["BRINDLE LTD TARROW SALES", "BRINDLE", "TARROW SALES"]),
        ("CAD / CAM Services", ["CAD CAM SERVICES"]),  # a side says too little
        ("Brindle Trading / Limited", ["BRINDLE TRADING"]),
        ("Brindle Trading / Co LLC", ["BRINDLE TRADING"]),
        ("Brindle / Tarrow LLC Joint Venture", ["BRINDLE TARROW LLC JOINT VENTURE"]),
        ("Brindle LLC, A Tarrow JV", ["BRINDLE LLC A TARROW JV"]),
        ("I/O Systems", ["IO SYSTEMS"]),
        ("24/7 Care", ["24 7 CARE"]),
        ("Brindle/Tarrow", ["BRINDLE TARROW"]),
        ("A-B", ["AB"]),
        ("Brindle-Tarrow LLC", ["BRINDLE TARROW"]),
        ("Brindle N.V., Rotterdam", ["BRINDLE NV ROTTERDAM", "BRINDLE"]),
        ("Brindle Inc., a Delaware corporation", ["BRINDLE INC A DELAWARE", "BRINDLE"]),
        ("Brindle Inc (a Delaware corporation)", ["BRINDLE INC A DELAWARE", "BRINDLE"]),
        ("Brindle, L.L.C., a Tarrow Dorran company", ["BRINDLE LLCA TARROW DORRAN", "BRINDLE"]),
        ("Brindle Incorporated (4525)", ["BRINDLE INCORPORATED 4525", "BRINDLE"]),
        ("Brindle Inc - Tarrow Site", ["BRINDLE INC TARROW SITE", "BRINDLE"]),
        ("Brindle Rehab, Inc. (BRX)", ["BRINDLE REHAB INC BRX", "BRINDLE REHAB"]),
        ("Brindle Fund, LLC (II)", ["BRINDLE FUND LLC 2"]),  # siblings
        ("Brindle Fund, Inc., 3", ["BRINDLE FUND INC 3"]),
        ("Brindle LLC (JV2)", ["BRINDLE LLC JV2"]),
        ("Brindle, Inc. (A)", ["BRINDLE INC A"]),
        ("Brindle (USA) Inc", ["BRINDLE USA"]),
        ("Brindle, Inc., The", ["BRINDLE"]),
        ("Brindle & Co., LLC", ["BRINDLE"]),
        ("GE Inc, Tarrow", ["GE INC TARROW"]),  # initials say too little
        ("Brindle Works T/A Tarrow Garden", ["BRINDLE WORKS", "TARROW GARDEN"]),
        ("T A Brindle Company", ["TA BRINDLE"]),
        ("Brindle Inc., Tarrow dba Dorran Ltd, Site", ["BRINDLE INC TARROW", "BRINDLE", "DORRAN LTD SITE", "DORRAN"]),
    ],
)
def test_punctuation_shows_further_names(raw: str, names: list[str]) -> None:
    found = split_names(pa.array(["Before", raw, "After, Inc., Town"]))
    assert found["name"].to_pylist() == ["BEFORE", *names, "AFTER INC TOWN", "AFTER"]
    assert found["row"].to_pylist() == [0, *[1] * len(names), 2, 2]
    assert found["further"].to_pylist() == [False, *[number > 0 for number in range(len(names))], False, True]


def test_numbers_distinguish_names() -> None:
    names = ["ACQUISITION II", "Acquisition 2, Inc.", "ACQUISITION III", "ACQUISITION 3", "ACQUISITION"]
    two, also_two, three, also_three, none = normalise_names(pa.array(names)).to_pylist()
    assert two == also_two
    assert three == also_three
    assert len({two, three, none}) == 3


def test_chunked_sliced_and_empty_arrays() -> None:
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
        ("P O BOX 618", "Suite 3", "PO BOX 618"),
        ("Box 618", None, "BOX 618"),
        ("Suite 200, 100 North Main Street", None, "100 N MAIN ST"),
        ("100 Main St Ste A", None, "100 MAIN ST"),
        ("100 Main Street Unit 4B", "Bldg. 7", "100 MAIN ST"),
        ("100 Main St Apt 3", "Room 12", "100 MAIN ST"),
        ("100 First Street", None, "100 1ST ST"),
        ("100 Main St Suite", None, "100 MAIN ST"),
        ("Post Office Box 618", None, "PO BOX 618"),
        ("POB 618", None, "PO BOX 618"),
        ("1 Main St", "PO Box 12", "1 MAIN ST"),
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


def test_malformed_codes_are_missing() -> None:
    codes = pa.array([" ab ", "ABC", None, "", "Va"])
    assert normalise_codes(codes, "[A-Z]{2}").to_pylist() == ["AB", None, None, None, "VA"]
