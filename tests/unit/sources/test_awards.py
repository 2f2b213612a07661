"""Reading of awards files: headers, records, cleaning, rejects, numbering."""

from __future__ import annotations

import datetime
import hashlib
import re
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from enrich_dist import schema
from enrich_dist.errors import SourceError
from enrich_dist.sources import check_awards, read_awards

SAMPLE = Path(__file__).parents[3] / "data" / "sample" / "sbir_awards.csv.gz"

NEW_HEADER = (
    "Company,Award Title,Agency,Branch,Phase,Program,Agency Tracking Number,Contract,Proposal Award Date,"
    "Contract End Date,Solicitation Number,Solicitation Year,Solicitation Close Date,Proposal Receipt Date,"
    "Date of Notification,Topic Code,Award Year,Award Amount,UEI,Duns,HUBZone Owned,"
    "Socially and Economically Disadvantaged,Woman Owned,Number Employees,Company Website,Address1,Address2,City,"
    "State,Zip,Contact Name,Contact Title,Contact Phone,Contact Email,PI Name,PI Title,PI Phone,PI Email,RI Name,"
    "RI POC Name,RI POC Phone"
)
OLD_HEADER = (
    "Company,Award Title,Agency,Branch,Phase,Program,Agency Tracking #,Contract,Award Start Date,Award Close Date,"
    "Solicitation #,Solicitation Year,Topic Code,Award Year,Award Amount,DUNS,Hubzone Owned,"
    "Socially and Economically Disadvantaged,Women Owned,# Employees,Company Website,Address1,Address2,City,State,"
    "Zip,Contact Name,Contact Title,Contact Phone,Contact Email,PI Name,PI Title,PI Phone,PI Email,RI Name,"
    "RI POC Name,RI POC Phone,Research Keywords,Abstract"
)
HEADER = "Company,Agency,Phase,Award Year,UEI,DUNS,City,State,Zip"
GOOD = "Acme Inc,DOD,Phase I,2018,,153865951,Troy,MI,48083"
OTHER = "Beta LLC,DOE,Phase II,2019,,080394069,Ames,IA,50010"


def write(tmp_path: Path, *lines: str, end: str = "\n") -> Path:
    path = tmp_path / "awards.csv"
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def one_column(tmp_path: Path, header: str, *cells: str, column: str):
    """Return the values of one extra column, and the values lost."""
    rows = [f'Co {number},D,I,2018,,,T,MI,48083,"{cell}"' for number, cell in enumerate(cells)]
    table = read_awards(write(tmp_path, f"{HEADER},{header}", *rows), {})
    assert table.rows_rejected == 0
    assert table.cells_repaired == len(table.rejects)
    lost = {reject["source_row"] - 2: reject["value"] for reject in table.rejects.to_pylist()}
    return table.awards.column(column).to_pylist(), lost


def replaced(tmp_path: Path, column: str, *cells: str):
    """Like ``one_column``, for a required column."""
    names = HEADER.split(",")
    rows = []
    for number, cell in enumerate(cells):
        values = [f"Co {number}", "D", "I", "2018", "", "", "T", "MI", "48083"]
        values[names.index(column)] = f'"{cell}"'
        rows.append(",".join(values))
    table = read_awards(write(tmp_path, HEADER, *rows), {})
    lost = {reject["source_row"] - 2: reject["value"] for reject in table.rejects.to_pylist()}
    return table.awards, lost


# --- headers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [NEW_HEADER, OLD_HEADER])
def test_both_header_generations(tmp_path, header):
    names = header.split(",")
    cells = dict.fromkeys(names, "x") | {
        "Award Year": "2018",
        "DUNS": "153865951",
        "Duns": "153865951",
        "Zip": "48083-1113",
        "Award Start Date": "01-02-2018",
        "Proposal Award Date": "01-02-2018",
        "Agency Tracking #": "T1",
        "Agency Tracking Number": "T1",
        "# Employees": "12",
        "Number Employees": "12",
        "Women Owned": "Y",
        "Woman Owned": "Y",
    }
    table = read_awards(write(tmp_path, header, ",".join(cells[name] for name in names)), {})
    assert table.awards.schema.names[: len(schema.AWARD)] == schema.AWARD.names
    assert table.awards.select(schema.AWARD.names).schema == schema.AWARD
    [award] = table.awards.to_pylist()
    assert award["proposal_award_date"] == datetime.date(2018, 1, 2)
    assert (award["agency_tracking_number"], award["number_employees"], award["woman_owned"]) == ("T1", 12, "Y")
    assert (award["duns"], award["zip"], award["zip5"], award["uei"]) == ("153865951", "48083-1113", "48083", None)
    extras = table.awards.schema.names[len(schema.AWARD) :]
    assert extras[0] == "contact_name"
    assert extras[-1] == ("abstract" if header is OLD_HEADER else "ri_poc_phone")
    assert all(table.awards.schema.field(name).type == pa.string() for name in extras)


def test_headers_ignore_case_and_punctuation(tmp_path):
    header = " company ,AGENCY,phase,award_year,Unique Entity ID,city,STATE,zip code"
    [award] = read_awards(write(tmp_path, header, "A,D,I,2018,d7sryqvnkmv3,T,mi,2139"), {}).awards.to_pylist()
    assert (award["uei"], award["zip5"], award["zip"]) == ("D7SRYQVNKMV3", "02139", "2139")


@pytest.mark.parametrize("check", [check_awards, read_awards])
@pytest.mark.parametrize("missing", ["Company", "Agency", "Phase", "Award Year", "City", "State", "Zip"])
def test_missing_required_column(tmp_path, check, missing):
    header = HEADER.replace(missing, "Something", 1)
    canonical = missing.lower().replace(" ", "_")
    with pytest.raises(
        SourceError, match=rf"awards\.csv.*{canonical}.*'Something'.*inputs\.award_columns\.{canonical}"
    ):
        check(write(tmp_path, header, GOOD), {})


def test_all_missing_columns_are_reported(tmp_path):
    path = write(tmp_path, "Who,Where", "A,T")

    with pytest.raises(SourceError) as refused:
        check_awards(path, {"phase": None, "city": "Where"})

    assert "no column for company, for agency, for award_year, for uei or duns, for state, for zip among" in str(
        refused.value
    )
    named = {f"inputs.award_columns.{name}" for name in ("company", "agency", "award_year", "uei", "state", "zip")}
    assert named == set(re.findall(r"inputs\.award_columns\.\w+", str(refused.value)))
    assert str(refused.value).endswith("or to null if the file has none (company is required).")


def test_one_identifier_column_is_required(tmp_path):
    assert len(read_awards(write(tmp_path, HEADER.replace("UEI", "X"), GOOD), {}).awards) == 1
    path = write(tmp_path, HEADER.replace("UEI", "X").replace("DUNS", "Y"), GOOD)
    with pytest.raises(SourceError, match="uei or duns"):
        check_awards(path, {})
    with pytest.raises(SourceError, match="uei or duns"):
        check_awards(path, {"uei": None})
    assert len(read_awards(path, {"uei": None, "duns": None}).awards) == 1


def test_column_map_renames_and_declares_absent(tmp_path):
    header = HEADER.replace("Company", "Who").replace("State", "Where")
    path = write(tmp_path, header, GOOD)
    table = read_awards(path, {"company": "Who", "state": None, "uei": None})
    [award] = table.awards.to_pylist()
    assert (award["company"], award["state"], award["uei"]) == ("Acme Inc", None, None)
    # Columns that the map declares absent are kept as extra columns with other names.
    assert table.awards.schema.names[len(schema.AWARD) :] == ["uei_2", "where"]
    assert award["where"] == "MI"


@pytest.mark.parametrize("check", [check_awards, read_awards])
@pytest.mark.parametrize(
    ("column_map", "message"),
    [
        ({"compny": "Company"}, "Did you mean 'company'"),
        ({"company": "Compani"}, "Did you mean 'Company'"),
        ({"company": None}, "must not be null"),
        ({"uei": "DUNS", "duns": "DUNS"}, "both uei and duns"),
    ],
)
def test_wrong_column_map(tmp_path, check, column_map, message):
    with pytest.raises(SourceError, match=message):
        check(write(tmp_path, HEADER, GOOD), column_map)


def test_two_headers_for_one_column(tmp_path):
    path = write(tmp_path, HEADER + ",Zip Code", GOOD + ",12345")
    with pytest.raises(SourceError, match="'Zip' and 'Zip Code' both match zip"):
        check_awards(path, {})
    table = read_awards(path, {"zip": "Zip Code"})
    assert table.awards.column("zip5").to_pylist() == ["12345"]
    assert table.awards.column("zip_2").to_pylist() == ["48083"]


def test_extra_headers_become_snake_case(tmp_path):
    path = write(tmp_path, HEADER + ",PI Name,pi-name,,source row,Topic #", GOOD + ",a,b,c,d,e")
    extras = read_awards(path, {}).awards.schema.names[len(schema.AWARD) :]
    assert extras == ["pi_name", "pi_name_2", "column_12", "source_row_2", "topic_number"]


# --- records ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_row_numbers_count_every_record(tmp_path, end):
    broken = GOOD.replace("Acme Inc", f'"Acme{end}Inc, ""X"""')
    path = write(tmp_path, HEADER, GOOD, "", "a,b", broken, "," * 8, GOOD, OTHER, "x" + "," * 9, "", end=end)
    table = read_awards(path, {})
    assert table.awards.column("source_row").to_pylist() == [2, 5, 8]
    assert table.awards.column("company").to_pylist() == ["Acme Inc", 'Acme Inc, "X"', "Beta LLC"]
    assert [(row["source_row"], row["outcome"], row["reason"], row["column"]) for row in table.rejects.to_pylist()] == [
        (3, "rejected", "blank row", None),
        (4, "rejected", "2 cells, the header 9", None),
        (6, "rejected", "blank row", None),
        (7, "rejected", "duplicate of row 2", None),
        (9, "rejected", "10 cells, the header 9", None),
        (10, "rejected", "blank row", None),
    ]
    assert table.rejects.schema == schema.REJECT
    assert table.rejects.column("value").to_pylist()[1] == "a,b"
    assert set(table.rejects.column("source_file").to_pylist()) == {"awards.csv"}
    assert (table.rows_read, table.rows_rejected, table.cells_repaired) == (9, 6, 0)


def test_row_numbers_hold_across_blocks(tmp_path):
    # Rows over several blocks, every third with an extra column.
    padding = "y" * 200_000
    rows = [f"Co {row},{padding},I,2018,,,T,MI,48083" + (",z" if row % 3 == 0 else "") for row in range(2, 92)]
    table = read_awards(write(tmp_path, HEADER, *rows), {})
    assert table.awards.column("company").to_pylist() == [f"Co {row}" for row in range(2, 92) if row % 3]
    assert table.awards.column("source_row").to_pylist() == [row for row in range(2, 92) if row % 3]
    assert table.rejects.column("source_row").to_pylist() == [row for row in range(2, 92) if row % 3 == 0]
    assert {len(value) for value in table.rejects.column("value").to_pylist()} == {500}


def test_empty_lines_before_the_header_count(tmp_path):
    table = read_awards(write(tmp_path, "", HEADER, GOOD), {})
    assert table.awards.column("source_row").to_pylist() == [3]
    assert table.rows_read == 1


def test_last_line_may_lack_its_end(tmp_path):
    path = write(tmp_path, HEADER, GOOD)
    path.write_bytes(path.read_bytes()[:-1])
    assert len(read_awards(path, {}).awards) == 1


def test_duplicates_across_blocks(tmp_path):
    padding = "y" * 900_000
    rows = [f"Co {number},{padding},I,2018,,,T,MI,48083" for number in (0, 1, 2, 3, 4, 5, 6, 7, 0, 0)]
    table = read_awards(write(tmp_path, HEADER, *rows), {})
    assert table.rejects.column("reason").to_pylist() == ["duplicate of row 2"] * 2
    assert table.rejects.column("source_row").to_pylist() == [10, 11]


def test_different_rows_are_not_duplicates(tmp_path):
    table = read_awards(write(tmp_path, HEADER + ",Note", GOOD + ",a", GOOD + ",b", GOOD + ","), {})
    assert len(table.awards) == 3
    assert len(set(table.awards.column("award_id").to_pylist())) == 3


def test_award_id_is_raw_digest(tmp_path):
    raw = " Acme &amp; Co ,DOD,Phase I,2018,,bad,Troy,MI,48083"
    [award] = read_awards(write(tmp_path, HEADER, raw), {}).awards.to_pylist()
    assert award["award_id"] == hashlib.md5("\x1f".join(raw.split(",")).encode()).hexdigest()


def test_rejected_rows_report_no_repairs(tmp_path):
    bad_duns = GOOD.replace("153865951", "nonsense")
    table = read_awards(write(tmp_path, HEADER, bad_duns, bad_duns, ",D,I,2018,,wrong,T,MI,48083"), {})
    assert [(row["source_row"], row["outcome"], row["column"]) for row in table.rejects.to_pylist()] == [
        (2, "repaired", "duns"),
        (3, "rejected", None),
        (4, "rejected", None),
    ]
    assert (table.rows_read, table.rows_rejected, table.cells_repaired) == (3, 2, 1)


def test_nameless_row_needs_identifier(tmp_path):
    rows = [",D,I,2018,,153865951,T,MI,48083", " ,D,I,2018,,000000000,T,MI,48083", "&nbsp;,D,I,2018,,,T,MI,48083"]
    table = read_awards(write(tmp_path, HEADER, *rows), {})
    assert table.awards.column("duns").to_pylist() == ["153865951"]
    assert table.rejects.column("reason").to_pylist() == ["no company name and no valid identifier"] * 2


def test_nul_bytes_become_spaces(tmp_path):
    rows = [GOOD.replace("Acme", "\x00Ac\x00me\x00"), OTHER + "\x00"]
    table = read_awards(write(tmp_path, HEADER + ",Note", rows[0] + ",a\x00b", rows[1] + ",\x00"), {})
    assert table.awards.column("company").to_pylist() == ["Ac me Inc", "Beta LLC"]
    assert table.awards.column("note").to_pylist() == ["a b", None]


def test_reasons_of_a_file_without_an_award(tmp_path):
    path = write(tmp_path, HEADER, ",,", f"{GOOD},", f"{OTHER},")
    check_awards(path, {})
    with pytest.raises(SourceError, match="2 rows have 10 cells, the header 9; 1 rows have 3 cells, the header 9"):
        read_awards(path, {})


# --- unclosed quotes -------------------------------------------------------------------------------------------


def adds_up(table) -> bool:
    return table.rows_read == len(table.awards) + table.rows_rejected


def test_unclosed_quote_rejects_few_rows(tmp_path):
    opened = GOOD.replace("DOD", '"DOD')
    table = read_awards(write(tmp_path, HEADER, OTHER, opened, GOOD, GOOD), {})
    assert len(table.awards) == 1
    [reject] = table.rejects.to_pylist()
    assert reject["source_row"] == 3
    assert "quote may be left open" in reject["reason"]
    assert adds_up(table)


@pytest.mark.parametrize("position", [0, 1, 2, 3, 5, 6, 7, 8])  # 4 is empty: quotes would make it a doubled quote
def test_unclosed_quote_in_same_column(tmp_path, position):
    # The merged record has the right number of columns.
    first, second = GOOD.split(","), OTHER.split(",")
    first[position] = f'"{first[position]}'
    second[position] = f'"{second[position]}"'
    table = read_awards(write(tmp_path, HEADER, ",".join(first), ",".join(second), GOOD), {})
    assert table.rejects.column("source_row").to_pylist() == [2]
    assert "a quote may be left open" in table.rejects.column("reason")[0].as_py()
    assert table.awards.column("source_row").to_pylist() == [3]


@pytest.mark.parametrize("rows", [1500, 100_000])  # within one block, and longer than a block
@pytest.mark.parametrize("position", [0, 8])
def test_unclosed_quote_over_file_stops(tmp_path, rows, position):
    opened = GOOD.split(",")
    opened[position] = f'"{opened[position]}'
    lines = [f"Co {number},DOD,Phase I,2018,,153865951,Troy,MI,48083" for number in range(rows)]
    with pytest.raises(SourceError, match="quote") as caught:
        read_awards(write(tmp_path, HEADER, OTHER, ",".join(opened), *lines), {})
    if rows == 1500:
        assert caught.value.row == 3


def test_multiline_text_is_not_unclosed_quote(tmp_path):
    abstract = "First, we do this, that, and more.\nSecond, a, b, c, d, e, f, g, h, i, j, k.\n"
    table = read_awards(write(tmp_path, HEADER + ",Abstract", f'{GOOD},"{abstract}"'), {})
    assert table.rows_rejected == 0
    assert table.awards.column("abstract").to_pylist() == [abstract.strip()]


# --- cells -----------------------------------------------------------------------------------------------------


def test_text_is_cleaned(tmp_path):
    cells = {
        "  A \t B  ": "A B",
        "A &amp; B": "A & B",
        "A &amp;amp; B": "A & B",
        "A &amp;amp;amp; B": "A & B",
        "O&#39;Neil &#x26; S&#246;n": "O'Neil & Sön",
        "&amp;#39;x&amp;#39;": "'x'",
        "&lt;b&gt; &nbsp;&quot": "<b> &quot",
        "AT&T; R&D": "AT&T; R&D",
        "amp;A&B": "amp;A&B",
        "SMITH&APOS;S&NBSP;CO": "SMITH'S CO",
        "A\u00a0\u2003B\u200b": "A B",
        "\u00a0": None,
        "&#0;x&#150;": "\ufffdx–",
    }
    values, lost = one_column(tmp_path, "Branch", *cells, column="branch")
    assert values == list(cells.values())
    assert not lost


def test_duns(tmp_path):
    kept = {
        "153865951": "153865951",
        "15-386-5951": "153865951",
        "153865951.0": "153865951",
        " 153865951 ": "153865951",
        "1538659": "001538659",
        "15386595": "015386595",
        "1538659510000": "153865951",
        "153865951-0000": "153865951",
        "538659510000": "053865951",
        "": None,
        "  ": None,
        "-": None,
        "nan": None,
        "N/A": None,
    }
    gone = [
        "15386595X",
        "1.5E+08",
        "000000000",
        "999999999",
        "123456789",
        "0000000",
        "153865",
        "1538659512",
        "123456787",
    ]
    awards, lost = replaced(tmp_path, "DUNS", *kept, *gone)
    assert awards.column("duns").to_pylist() == [*kept.values(), *[None] * len(gone)]
    assert lost == dict(enumerate(gone, start=len(kept)))


def test_uei(tmp_path):
    kept = {"D7SRYQVNKMV3": "D7SRYQVNKMV3", " jlzsjrjvkj49 ": "JLZSJRJVKJ49", "": None, "NULL": None}
    gone = ["D7SRYQVNKMV", "D7SRYQVNKMV33", "07SRYQVNKMV3", "D7SRYQVNKMI3", "D7SRYQVNKMO3", "D7SRYQVNK-V3", "PENDING"]
    awards, lost = replaced(tmp_path, "UEI", *kept, *gone)
    assert awards.column("uei").to_pylist() == [*kept.values(), *[None] * len(gone)]
    assert lost == dict(enumerate(gone, start=len(kept)))


def test_zip(tmp_path):
    kept = {
        "48083": "48083",
        "48083-1113": "48083",
        "480831113": "48083",
        "48083 1113": "48083",
        "2139": "02139",
        "21391234": "02139",
        "2139-1234": "02139",
        "2139.0": "02139",
        "02141-": "02141",
        "01801-Array": "01801",
        "-": None,
        "": None,
    }
    gone = ["123", "1234567", "K1A 0B1", "00000", "480831"]
    awards, lost = replaced(tmp_path, "Zip", *kept, *gone)
    assert awards.column("zip5").to_pylist() == [*kept.values(), *[None] * len(gone)]
    assert awards.column("zip").to_pylist() == [cell if cell != "-" and cell else None for cell in (*kept, *gone)]
    assert lost == dict(enumerate(gone, start=len(kept)))


def test_state(tmp_path):
    cells = {
        "mi": "MI",
        "New York": "NY",
        "DISTRICT OF COLUMBIA": "DC",
        "Puerto  Rico": "PR",
        "US-MA": "MA",
        "MASS.": "MA",
        "MA - Massachusetts": "MA",
        "D.C.": "DC",
        "AE": "AE",
        "CA-ON": "ON",
        "AU-WA": "AU-WA",
        "NA": None,
        "": None,
    }
    gone = ["Bavaria", "XX", "ON", "12"]
    awards, lost = replaced(tmp_path, "State", *cells, *gone)
    assert awards.column("state").to_pylist() == [*cells.values(), *[None] * len(gone)]
    assert lost == dict(enumerate(gone, start=len(cells)))


def test_dates(tmp_path):
    day = datetime.date
    kept = {
        "02-21-2017": day(2017, 2, 21),
        "02/21/2017": day(2017, 2, 21),
        "2/1/2017": day(2017, 2, 1),
        "July 01, 2018": day(2018, 7, 1),
        "may 3, 2018": day(2018, 5, 3),
        "Sept. 3 2018": day(2018, 9, 3),
        "2020-02-29": day(2020, 2, 29),
        "2018-01-31 00:00:00": day(2018, 1, 31),
        "2018-01-31T10:00:00.5Z": day(2018, 1, 31),
        "": None,
        "-": None,
    }
    gone = ["2019-02-29", "13-01-2018", "04/31/2018", "00-00-0000", "January 2018", "2018", "Foo 1, 2018", "1/1/18"]
    values, lost = one_column(tmp_path, "Proposal Award Date", *kept, *gone, column="proposal_award_date")
    assert values == [*kept.values(), *[None] * len(gone)]
    assert lost == dict(enumerate(gone, start=len(kept)))


def test_amounts(tmp_path):
    kept = {
        "1,234,567.89": "1234567.89",
        "$100,000": "100000.00",
        "$ 5": "5.00",
        "81740.495": "81740.50",
        "0.1": "0.10",
        ".5": "0.50",
        "-12": "-12.00",
        "007": "7.00",
    }
    gone = ["1.234,56", "12,34", "1e5", "abc", "12345678901234567", "1.2.3"]
    values, lost = one_column(tmp_path, "Award Amount", *kept, *gone, "", column="award_amount")
    assert values == [*map(Decimal, kept.values()), *[None] * len(gone), None]
    assert lost == dict(enumerate(gone, start=len(kept)))


def test_whole_numbers(tmp_path):
    kept = {"12": 12, "12.0": 12, "1,200": 1200, "0": 0, "007": 7, "": None}
    gone = ["-1", "2.5", "many", "99999999999", "10-20"]
    values, lost = one_column(tmp_path, "Number Employees", *kept, *gone, column="number_employees")
    assert values == [*kept.values(), *[None] * len(gone)]
    assert lost == dict(enumerate(gone, start=len(kept)))


def test_years(tmp_path):
    awards, lost = replaced(tmp_path, "Award Year", "2018", "2018.0", "2,018", "", "1.0", "20188")
    assert awards.column("award_year").to_pylist() == [2018, 2018, 2018, None, None, None]
    assert lost == {4: "1.0", 5: "20188"}


# --- real data -------------------------------------------------------------------------------------------------


def test_sample_is_read_completely():
    check_awards(SAMPLE, {})
    table = read_awards(SAMPLE, {})
    assert (table.rows_read, len(table.awards), table.rows_rejected, table.bytes_repaired) == (11446, 11446, 0, 0)
    awards = table.awards
    assert awards.num_rows - awards.column("duns").null_count == 10657
    assert awards.num_rows - awards.column("uei").null_count == 94
    assert awards.column("award_amount").null_count == 2
    assert awards.column("award_year").null_count == 0
    assert awards.num_rows - awards.column("proposal_award_date").null_count == 11446 - 680
    assert not any("&amp;" in company for company in awards.column("company").to_pylist())
    assert [(row["column"], row["value"]) for row in table.rejects.to_pylist()] == [("solicitation_year", "1.0")]
    assert awards.equals(read_awards(SAMPLE, {}).awards)
