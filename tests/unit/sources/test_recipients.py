"""Recipients from Parquet: batches, columns of unusual types, cleaning, damage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist import schema
from enrich_dist.errors import SourceError
from enrich_dist.sources import check_recipients, read_recipients

SAMPLE = Path(__file__).parents[3] / "data" / "sample" / "recipients.parquet"
UEI = "D7SRYQVNKMV3"
# Columns that a test does not need.
ABSENT = {"uei": None, "city": None, "state": None, "zip5": None}


def write(tmp_path: Path, **columns) -> Path:
    path = tmp_path / "recipients.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def read(path: Path, column_map=ABSENT, batch_rows: int = 3):
    batches = list(read_recipients(path, column_map, batch_rows=batch_rows))
    assert all(batch.recipients.schema == schema.RECIPIENT for batch in batches)
    assert all(batch.rejects.schema == schema.REJECT for batch in batches)
    return pa.concat_tables(batch.recipients for batch in batches), pa.concat_tables(batch.rejects for batch in batches)


def lost(rejects: pa.Table, column: str) -> list[str]:
    return [row["value"] for row in rejects.to_pylist() if (row["outcome"], row["column"]) == ("repaired", column)]


@pytest.mark.parametrize("row_group_size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("batch_rows", [1, 3, 7, 10, 100])
def test_batches_cover_exactly_batch_rows(tmp_path, row_group_size, batch_rows):
    names = [None if number % 4 == 0 else f"Firm {number}" for number in range(10)]
    alternates = [[f"Alias {number}"] if number % 3 else [] for number in range(10)]
    path = tmp_path / "recipients.parquet"
    pq.write_table(pa.table({"name": names, "alternate_names": alternates}), path, row_group_size=row_group_size)
    batches = list(read_recipients(path, ABSENT, batch_rows=batch_rows))
    assert [batch.rows_read for batch in batches[:-1]] == [batch_rows] * (len(batches) - 1)
    assert sum(batch.rows_read for batch in batches) == 10
    for batch in batches:
        assert batch.rows_read == len(batch.recipients) + len(batch.rejects)
    recipients = pa.concat_tables(batch.recipients for batch in batches)
    assert recipients.column("source_row").to_pylist() == [row + 1 for row in range(10) if row % 4]
    assert recipients.column("alternate_names").to_pylist() == [alternates[row] or None for row in range(10) if row % 4]
    rejects = pa.concat_tables(batch.rejects for batch in batches).to_pylist()
    assert [(row["source_row"], row["outcome"]) for row in rejects] == [
        (1, "rejected"),
        (5, "rejected"),
        (9, "rejected"),
    ]


def test_batch_rows_must_be_positive():
    with pytest.raises(ValueError, match="batch_rows"):
        read_recipients(SAMPLE, {}, batch_rows=0)


def test_columns_with_other_names(tmp_path):
    path = write(
        tmp_path,
        **{
            "Legal Business Name": ["A &amp; B"],
            "recipient_uei": [UEI.lower()],
            "City Name": [" Troy  "],
            "state_code": ["Michigan"],
            "ZIP Code": ["48083-1113"],
            "Country": ["usa"],
        },
    )
    [row] = read(path, {})[0].to_pylist()
    assert row == {
        **dict.fromkeys(schema.RECIPIENT.names),
        "source_row": 1,
        "recipient_id": UEI,
        "name": "A & B",
        "uei": UEI,
        "city": "Troy",
        "state": "MI",
        "zip5": "48083",
        "zip4": "1113",
        "country_code": "USA",
    }


def test_recipient_id_falls_back(tmp_path):
    path = write(tmp_path, recipient_hash=["h1", None, "nan"], name=["A", "B", "C"], uei=[UEI, UEI, "bad"])
    recipients, rejects = read(path, {"city": None, "state": None, "zip5": None})
    assert recipients.column("recipient_id").to_pylist() == ["h1", UEI, "row:3"]
    assert lost(rejects, "uei") == ["bad"]


def test_identifier_without_name_is_enough(tmp_path):
    path = write(tmp_path, name=[None, "  ", None, None], uei=[UEI, None, None, "x"], duns=["", "", "153865951", "1"])
    recipients, rejects = read(path, {"city": None, "state": None, "zip5": None})
    assert recipients.column("source_row").to_pylist() == [1, 3]
    assert [(row["source_row"], row["outcome"]) for row in rejects.to_pylist()] == [(2, "rejected"), (4, "rejected")]


@pytest.mark.parametrize(
    "check", [check_recipients, lambda path, column_map: read_recipients(path, column_map, batch_rows=5)]
)
@pytest.mark.parametrize(
    ("columns", "column_map", "message"),
    [
        ({"x": ["a"]}, ABSENT, r"name.*'x'.*inputs\.recipient_columns\.name"),
        ({"name": ["a"], "uei": ["b"]}, {}, r"city.*inputs\.recipient_columns\.city.*null"),
        ({"name": ["a"]}, {**ABSENT, "nmae": "name"}, "Did you mean 'name'"),
        ({"name": ["a"]}, {**ABSENT, "name": None}, "must not be null"),
        ({"name": ["a"]}, {**ABSENT, "duns": "dunz"}, "does not have"),
        ({"name": ["a"], "recipient_name": ["b"]}, ABSENT, "both match name"),
        ({"name": [["a"]]}, ABSENT, r"column 'name'.*list<"),
        ({"name": [{"a": 1}]}, ABSENT, r"column 'name'.*struct<"),
        ({"name": [True]}, ABSENT, r"column 'name'.*bool"),
        ({"name": ["a"], "city": [["b"]]}, {**ABSENT, "city": "city"}, r"column 'city'.*list<"),
        ({"name": pa.array([], pa.string())}, ABSENT, "no rows"),
    ],
)
def test_unusable_columns_are_refused(tmp_path, check, columns, column_map, message):
    with pytest.raises(SourceError, match=message) as caught:
        check(write(tmp_path, **columns), column_map)
    assert caught.value.path.endswith("recipients.parquet")


@pytest.mark.parametrize(
    "names",
    [
        pa.array([42, None, 7]),
        pa.array([42.0, None, 7.0]),
        pa.array(["42", None, "7"]).dictionary_encode(),
        pa.array(["42", None, "7"], pa.large_string()),
        pa.array(["42", None, "7"], pa.string_view()),
        pa.array([b"42", None, b"7"]),
    ],
)
def test_other_types_become_text(tmp_path, names):
    recipients, _ = read(write(tmp_path, name=names), batch_rows=2)
    assert recipients.column("name").to_pylist() == ["42", "7"]


def test_numbers_as_identifiers_and_zips(tmp_path):
    path = write(tmp_path, name=["A", "B"], duns=[153865951.0, None], zip5=[2139, 48083], zip4=[1113.0, None])
    recipients, rejects = read(path, {"uei": None, "city": None, "state": None})
    assert recipients.column("duns").to_pylist() == ["153865951", None]
    assert recipients.column("zip5").to_pylist() == ["02139", "48083"]
    assert recipients.column("zip4").to_pylist() == ["1113", None]
    assert not len(rejects)


def test_null_words_are_null(tmp_path):
    words = ["NaN", "nan", "None", "NULL"]
    text = dict.fromkeys(("name", "city", "state", "zip5", "uei", "address_line_1", "country_code"), words)
    recipients, rejects = read(write(tmp_path, **text), {})
    assert recipients.column("name").to_pylist() == words
    for name in (*text, "recipient_id"):
        if name not in ("name", "recipient_id"):
            assert recipients.column(name).null_count == 4, name
    assert recipients.column("recipient_id").to_pylist() == ["row:1", "row:2", "row:3", "row:4"]
    assert not len(rejects)


def test_zips_and_their_four_digits(tmp_path):
    rows = [  # zip5, zip4, country -> zip5, zip4
        ("48083-1113", None, "USA", "48083", "1113"),
        ("48083", "1113", None, "48083", "1113"),
        ("48083", "480831113", "USA", "48083", "1113"),
        ("480831113", "", "USA", "48083", "1113"),
        ("1011", None, "USA", "01011", None),
        ("1011", None, "CHE", None, None),  # not a ZIP code that lost a zero
        ("80331", None, "DEU", "80331", None),
        ("EC4M", "9BT", "GBR", None, None),
        ("EC4M", "9BT", None, None, None),
    ]
    zip5, zip4, country, want5, want4 = (list(column) for column in zip(*rows, strict=True))
    path = write(tmp_path, name=["A"] * len(rows), zip5=zip5, zip4=zip4, country_code=country)
    recipients, rejects = read(path, {"uei": None, "city": None, "state": None})
    assert recipients.column("zip5").to_pylist() == want5
    assert recipients.column("zip4").to_pylist() == want4
    assert (lost(rejects, "zip5"), lost(rejects, "zip4")) == (["EC4M"], ["9BT"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Solo &amp; Co", ["Solo & Co"]),
        ("A; B|C ;", ["A", "B", "C"]),
        ("A &amp; B; C", ["A & B", "C"]),
        ("{}", None),
        ("[]", None),
        ("", None),
        (None, None),
        ('{ACME,"ACME, INC.",NULL}', ["ACME", "ACME, INC."]),
        (r'{"SAY \"HI\" CO","A\\B"}', ['SAY "HI" CO', r"A\B"]),
        ('["ACME, INC.", "Caf\\u00e9", null, ""]', ["ACME, INC.", "Café"]),
        ("[not json", ["[not json"]),
    ],
)
def test_alternate_names_as_text(tmp_path, text, names):
    path = write(tmp_path, name=["X", "Y"], alternate_names=pa.array([text, "Z"], pa.string()))
    assert read(path)[0].column("alternate_names").to_pylist() == [names, ["Z"]]


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.large_string())])
def test_alternate_names_in_lists(tmp_path, kind):
    values = [["A &amp; B", " ", None, "nan"], None, [], [" C  D "]]
    path = write(tmp_path, name=list("WXYZ"), alternate_names=pa.array(values, kind))
    assert read(path)[0].column("alternate_names").to_pylist() == [["A & B"], None, None, ["C D"]]


# --- damage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"name,uei\n", b"PAR1", SAMPLE.read_bytes()[:1000], SAMPLE.read_bytes()[1000:]]
)
def test_damaged_parquet_is_refused(tmp_path, content):
    path = tmp_path / "recipients.parquet"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"recipients\.parquet.*Parquet"):
        check_recipients(path, {})


def test_missing_file(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        check_recipients(tmp_path / "absent.parquet", {})


def test_late_damage_is_a_source_error(tmp_path):
    path = tmp_path / "recipients.parquet"
    names = pa.array([f"{number * 2654435761 % 2**32:x} Firm" for number in range(200_000)])
    pq.write_table(pa.table({"name": names}), path, use_dictionary=False, compression="zstd")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(bytes(content))
    check_recipients(path, ABSENT)
    stream = read_recipients(path, ABSENT, batch_rows=1000)
    next(stream)
    with pytest.raises(SourceError, match="damaged"):
        list(stream)


@pytest.mark.parametrize("column", ["name", "address_line_1", "alternate_names"])
@pytest.mark.parametrize("letters", [b"\xff\xfe", b"e\xcc", b"\x80e"])
def test_invalid_utf8_is_refused(tmp_path, column, letters):
    invalid = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\x02\0\0\0"), pa.py_buffer(letters))
    if column == "alternate_names":
        invalid = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), invalid)
    path = write(tmp_path, **{"name": ["A"], column: invalid})
    with pytest.raises(SourceError, match="UTF-8"):
        list(read_recipients(path, ABSENT, batch_rows=1))


# --- real data and memory --------------------------------------------------------------------------------------


def test_sample_is_read_completely():
    check_recipients(SAMPLE, {})
    complete, complete_rejects = read(SAMPLE, {}, batch_rows=200_000)
    pieces, pieces_rejects = read(SAMPLE, {}, batch_rows=7_777)
    assert len(complete) == 96_666
    assert complete.equals(pieces.combine_chunks())
    assert complete_rejects.equals(pieces_rejects.combine_chunks())
    assert len(complete) - complete.column("uei").null_count == 11_177
    assert len(complete) - complete.column("alternate_names").null_count == 282
    assert len(complete_rejects) == 13
    assert set(complete_rejects.column("column").to_pylist()) == {"zip4", "zip5", "state", "country_code"}


_PEAK = """
import re, sys
from pathlib import Path
from enrich_dist.sources import read_recipients
rows = sum(b.rows_read for b in read_recipients(Path(sys.argv[1]), {}, batch_rows=5000))
# Not ru_maxrss, which includes the parent process.
print(rows, int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_ignores_row_group_size(tmp_path):
    sample = pq.read_table(SAMPLE)
    peaks_mib = []
    for copies in (1, 8):
        path = tmp_path / f"{copies}.parquet"
        # Without dictionaries and compression, so that the file is as large as its data.
        table = pa.concat_tables([sample] * copies)
        pq.write_table(table, path, row_group_size=len(table), use_dictionary=False, compression="none")
        command = [sys.executable, "-c", _PEAK, str(path)]
        rows, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert int(rows) == copies * 96_666
        peaks_mib.append(int(peak))
    assert peaks_mib[1] - peaks_mib[0] < 25, peaks_mib
