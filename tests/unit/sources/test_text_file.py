"""Opening and decoding of text files, through ``read_awards``: compression, encoding, damage."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path

import pytest

from enrich_dist.errors import SourceError
from enrich_dist.sources import check_awards, read_awards, text_file
from enrich_dist.sources.text_file import open_utf8

HEADER = b"Company,Agency,Phase,Award Year,DUNS,City,State,Zip\n"
ROWS = b"Acme Inc,DOD,Phase I,2018,153865951,Troy,MI,48083\nBeta LLC,DOE,Phase II,2019,080394069,Ames,IA,50010\n"


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(
                name.replace("__", "/", 1) if name.startswith("dir") else name.replace("_csv", ".csv"), content
            )
    return buffer.getvalue()


def write(tmp_path: Path, content: bytes, name: str = "awards.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def companies(path: Path) -> list[str | None]:
    return read_awards(path, {}).awards.column("company").to_pylist()


@pytest.mark.parametrize("name", ["awards.csv", "awards.csv.gz", "awards.zip", "awards"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda content: zipped(readme_txt=b"x", awards_csv=content)])
def test_compression_is_detected_by_content(tmp_path, name, pack):
    assert companies(write(tmp_path, pack(HEADER + ROWS), name)) == ["Acme Inc", "Beta LLC"]


def test_multi_member_gzip_is_read(tmp_path):
    path = write(tmp_path, gzip.compress(HEADER) + gzip.compress(ROWS))
    assert len(companies(path)) == 2


def test_byte_order_mark_is_dropped(tmp_path):
    table = read_awards(write(tmp_path, b"\xef\xbb\xbf" + HEADER + ROWS), {})
    assert len(table.awards) == 2
    assert table.bytes_repaired == 0
    assert "\ufeff" not in "".join(table.awards.schema.names)


def test_invalid_bytes_are_windows_1252(tmp_path):
    rows = b"Caf\xe9 \x93Q\x94,D,I,2018,153865951,T,MI,48083\n" + "Müller,D,I,2018,153865952,T,MI,48083\n".encode()
    table = read_awards(write(tmp_path, HEADER + rows), {})
    assert table.awards.column("company").to_pylist() == ["Café “Q”", "Müller"]
    assert table.bytes_repaired == 3


def test_undefined_byte_becomes_replacement_character(tmp_path):
    path = write(tmp_path, HEADER + b"A\x81B,D,I,2018,153865951,T,MI,48083\n")
    assert companies(path) == ["A\ufffdB"]


@pytest.mark.parametrize("character", ["é", "€", "𝄞"])
@pytest.mark.parametrize("shift", range(4))
def test_characters_across_blocks(tmp_path, character, shift):
    # Much longer than every buffer, so that a character crosses the end of each.
    text = "x" * shift + character * 40_000
    rows = "".join(f'A{row},"{text}",I,2018,153865951,T,MI,48083\n' for row in range(60)).encode()
    table = read_awards(write(tmp_path, HEADER + rows), {})
    assert len(table.awards) == 60
    assert set(table.awards.column("agency").to_pylist()) == {text}
    assert table.bytes_repaired == 0


def test_repaired_bytes_may_grow(tmp_path):
    cell = b"\x93" * 300_000  # three bytes each once repaired
    rows = b"".join(b"A%d,%s,I,2018,153865951,T,MI,48083\n" % (row, cell) for row in range(8))
    table = read_awards(write(tmp_path, HEADER + rows), {})
    assert len(table.awards) == 8
    assert table.bytes_repaired == 8 * 300_000


@pytest.mark.parametrize("check", [check_awards, read_awards])
def test_ambiguous_zip_lists_its_members(tmp_path, check):
    path = write(tmp_path, zipped(a_csv=HEADER + ROWS, b_csv=HEADER + ROWS), "two.zip")
    with pytest.raises(SourceError, match=r"two\.zip.*a\.csv, b\.csv"):
        check(path, {})
    with pytest.raises(SourceError, match="readme"):
        check(write(tmp_path, zipped(readme=b"x")), {})


def test_macos_resource_forks_are_ignored(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("dir/awards.CSV", HEADER + ROWS)
        archive.writestr("__MACOSX/dir/._awards.csv", b"\x00")
    assert len(companies(write(tmp_path, buffer.getvalue()))) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["awards.csv"]  # nothing was extracted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"\n\n\n", "no header"),
        (HEADER, "no rows"),
        (gzip.compress(b""), "empty"),
        (b"PAR1....PAR1", "Parquet"),
        ("Company,Agency\n".encode("utf-16-le"), "UTF-16"),
        (gzip.compress(HEADER + ROWS)[:40], "damaged or incomplete"),
        (b"\x1f\x8b\x00\x00", "damaged or incomplete"),
        (zipped(a_csv=HEADER + ROWS)[:60], "damaged or incomplete"),
    ],
    # By number: compressed bytes contain the time, and names of tests must not.
    ids=range(10),
)
@pytest.mark.parametrize("check", [check_awards, read_awards])
def test_unusable_files_are_refused(tmp_path, check, content, message):
    with pytest.raises(SourceError, match=message) as caught:
        check(write(tmp_path, content), {})
    assert caught.value.path.endswith("awards.csv")


@pytest.mark.parametrize("check", [check_awards, read_awards])
def test_missing_file_and_directory(tmp_path, check):
    with pytest.raises(SourceError, match="does not exist"):
        check(tmp_path / "absent.csv", {})
    with pytest.raises(SourceError, match="no file is in this folder"):
        check(tmp_path, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path):
    path = write(tmp_path, HEADER + ROWS)
    path.chmod(0)
    with pytest.raises(SourceError, match="permission denied"):
        check_awards(path, {})


def long_rows() -> bytes:
    noise = os.urandom(6_000_000).hex()  # does not compress well, and spans several blocks
    lines = (f"{noise[at : at + 60]},D,I,2018,153865951,T,MI,48083\n" for at in range(0, len(noise) - 60, 60))
    return HEADER + "".join(lines).encode()


def test_damaged_gzip_fails_while_reading(tmp_path):
    content = bytearray(gzip.compress(long_rows(), compresslevel=1))
    content[-5] ^= 0xFF  # the checksum at the end
    path = write(tmp_path, bytes(content))
    check_awards(path, {})  # reads the beginning only
    with pytest.raises(SourceError, match="damaged or incomplete"):
        read_awards(path, {})
    with pytest.raises(SourceError, match="damaged or incomplete"):
        read_awards(write(tmp_path, bytes(content[:-100_000])), {})


def test_damaged_zip_fails_while_reading(tmp_path):
    content = bytearray(zipped(awards_csv=long_rows()))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(SourceError, match="damaged or incomplete"):
        read_awards(write(tmp_path, bytes(content)), {})


def archive(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name",
    ["../awards.csv", "/etc/awards.csv", "a/../../awards.csv", "..\\awards.csv", "C:/awards.csv", "C:awards.csv"],
)
@pytest.mark.parametrize("check", [check_awards, read_awards])
def test_zip_with_outside_members_is_refused(tmp_path, check, name):
    path = write(tmp_path, archive((name, HEADER + ROWS)))
    with pytest.raises(SourceError, match=r"awards\.csv: the archive has a member .* outside .* Do not extract it"):
        check(path, {})
    mixed = write(tmp_path, archive(("awards.csv", HEADER + ROWS), (name.replace("csv", "txt"), b"")))
    with pytest.raises(SourceError, match="outside"):
        check(mixed, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["awards.csv"]


def test_dots_in_names_are_allowed(tmp_path):
    assert len(companies(write(tmp_path, archive(("awards..2024/a...csv", HEADER + ROWS))))) == 2


def bomb(pack: str) -> bytes:
    """150 MB of equal rows in a file of some hundred kB."""
    row = b"Acme Inc,DOD,Phase I,2018,153865951,Troy,MI,48083\n"
    content = HEADER + row * (150_000_000 // len(row))
    return gzip.compress(content, 9) if pack == "gz" else archive(("awards.csv", content))


def read_to_the_end(path: Path, max_bytes: int) -> None:
    with open_utf8(path) as stream:
        read = 0
        while block := stream.read(1_000_000):
            read += len(block)
            assert read <= max_bytes


@pytest.mark.parametrize("pack", ["gz", "zip"])
def test_decompression_bomb_is_refused_early(tmp_path, pack):
    path = write(tmp_path, bomb(pack))
    with pytest.raises(SourceError, match=r"awards\.csv: the archive unpacks to more than \d+ MB.*unpack it and name"):
        read_to_the_end(path, max(100_000_000, 200 * path.stat().st_size) + 1_000_000)


def test_wrong_member_size_is_refused(tmp_path):
    content = bytearray(bomb("zip"))
    real = (150_000_000 // 50) * 50 + len(HEADER)
    directory = content.rindex(b"PK\x01\x02")
    for at in (22, directory + 24):  # the uncompressed size in the local header and in the directory
        assert int.from_bytes(content[at : at + 4], "little") == real
        content[at : at + 4] = (1000).to_bytes(4, "little")
    path = write(tmp_path, bytes(content))
    with pytest.raises(SourceError, match=r"awards\.csv: the file is damaged"):
        read_to_the_end(path, 1_000_000)


def test_size_limit_ignores_ratio(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "MAX_UNPACKED_BYTES", 1_000_000)
    with pytest.raises(SourceError, match=r"more than 1 MB"):
        read_awards(write(tmp_path, gzip.compress(long_rows(), 1)), {})
    assert len(companies(write(tmp_path, long_rows()))) > 1000  # not compressed, no limit
