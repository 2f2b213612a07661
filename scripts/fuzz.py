"""Feed damaged and random inputs to the readers: ``python -m scripts.fuzz --inputs 1000000``.

Every input is a file or the bytes of one. Only errors of the project may leave a reader, and the rows that it yields
and rejects must be all rows. ``tests/property/test_fuzzing.py`` draws a few inputs of the same targets by hypothesis;
this script draws a million and writes the record to ``reports/reliability/fuzzing.json``.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import json
import lzma
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.core.files import write_json
from enrich_dist.errors import EnrichError
from enrich_dist.sources import ENGINE_VERSION
from enrich_dist.sources.awards import read_awards
from enrich_dist.sources.delimited import DelimitedFile, Records
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.pg_dump.copy_text import CopyText, unescape
from enrich_dist.sources.pg_dump.toc import TocError, parse_toc
from enrich_dist.sources.recipients import read_recipients
from enrich_dist.sources.table_file import open_table
from tests.support import dumps

RECORD = Path("reports/reliability/fuzzing.json")
_TOKENS = [
    *(bytes([code]) for code in b"\\\t\n\r\0\x1f\"',;|&#<%\x1a\x7f\x80\xff\xfe"),
    *(rb"\.", b"\\.\n", rb"\N", rb"\x4", rb"\377", b"\r\n", b'""', b'"\n', b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3"),
    *(b"NA", b"N/A", b"nan", b"null", b"None", b"-", b"?", b"TBD", b"sep=;\n", b"=1+1", b"97201.0", b"1e400"),
    *(b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x01\x00\x00\x00\x80", b"PK\x03\x04", b"PK\x01\x02"),
    *(b"PAR1", b"PGDMP", b"\x1f\x8b", b"../", b"C:\\", "\u202e\u00e9\u682a".encode()),
]
_DELIMITERS = ",;\t|:"
_WORDS = [
    "",
    "NA",
    "nan",
    "-",
    "MA",
    "US-MA",
    "02139",
    "97201.0",
    "Quorvex & Co",
    'a "b"',
    "x\ny",
    "\u682a",
    "\x00",
    "=",
]
_ENCODINGS = ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-32", "shift_jis"]
_RECIPIENTS = ["recipient_hash", "name", "uei", "duns", "city", "state", "zip5", "alternate_names"]
_AWARDS = ["Company", "Agency", "Phase", "Award Year", "UEI", "City", "State", "Zip"]


class Target(NamedTuple):
    """``weight``: its share of the inputs. ``seeds``: valid inputs; ``make``: makes an input of a seed. ``check`` runs
    the reader; it raises for an exception that is no error of the project, and for lost rows."""

    weight: int
    seeds: Callable[[], Sequence[bytes]]
    make: Callable[[Random, Sequence[bytes]], bytes]
    check: Callable[[bytes, Path], None]


def mutate(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Return a seed with a few random changes."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.randint(1, 6)):
        at, length = random.randint(0, len(data)), random.choice((1, 1, 2, 4, 16, 64))
        kind = random.randrange(7)
        if kind == 0:
            data[at : at + length] = random.randbytes(length)
        elif kind == 1:
            data[at:at] = random.choice(_TOKENS)
        elif kind == 2:
            data[at : at + length] = random.choice(_TOKENS)
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length]
        elif kind == 5:
            other = random.choice(seeds)
            start = random.randint(0, len(other))
            data[at : at + length] = other[start : start + length]
        elif random.random() < 0.3:
            del data[at:]
    return bytes(data)


def random_copy_text(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Return COPY text of random letters, most of it with an end."""
    if random.random() < 0.5:
        return mutate(random, seeds)
    letters = [b"\t", b"\n", b"\\", b"\\N", b"a", b"1", b"\xc3\xa9", *_TOKENS[: random.randint(0, len(_TOKENS))]]
    return b"".join(random.choices(letters, k=random.randint(0, 60))) + random.choice((b"", b"\n\\.\n", b"\n\\.\n\n"))


def random_table(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Return delimited text with a random delimiter, quoting, encoding, line end and words."""
    if random.random() < 0.3:
        return mutate(random, seeds)
    delimiter, end = random.choice(_DELIMITERS), random.choice(("\n", "\r\n", "\r"))
    header = random.choice((_RECIPIENTS, _AWARDS))

    def cell() -> str:
        text = random.choice(_WORDS)
        return f'"{text.replace(chr(34), chr(34) * 2)}"' if random.random() < 0.5 else text

    rows = [[cell() for _ in header[: random.choice((8, 8, 8, 7, 1))]] for _ in range(random.randint(0, 8))]
    rows = [header, *rows, *([header] if random.random() < 0.2 else [])]
    tail = delimiter * random.choice((0, 0, 0, 1, 3))
    text = random.choice(("", "", "", f"sep={delimiter}{end}", f"Export{end}{end}", end))
    text += "".join(delimiter.join(row) + tail + end for row in rows)
    data = text.encode(random.choice(_ENCODINGS), "replace")
    return mutate(random, [data]) if random.random() < 0.3 else data


def _copy_seeds() -> list[bytes]:
    return [
        b'1\tQUORVEX\t\\N\n2\ta\\tb\\\\c\\x41\\101\t{"a,b",NULL}\n\\.\n',
        b"\\.\n",
        "é\t\\303\\251\tx\n\\.\n".encode(),
    ]


def _toc_seeds() -> list[bytes]:
    entries = [dumps.Entry("ENCODING", "ENCODING", definition="SET client_encoding = 'UTF8';"), _rows_entry()]
    return [dumps.toc(entries, version) for version in dumps.VERSIONS]


def _rows_entry() -> dumps.Entry:
    return dumps.rows_of("recipient_lookup", _RECIPIENTS, "1.dat")


def _table(header: Sequence[str], rows: int = 3) -> bytes:
    lines = [",".join(header), *(",".join(f"{name} {row}" for name in header) for row in range(rows))]
    return "\n".join(lines).encode() + b"\n"


def _table_seeds() -> list[bytes]:
    row = dict.fromkeys(_RECIPIENTS, "x")
    sam = "BOF PUBLIC V2 00000000 20260906 0000001 0008331\n" + "|".join(["x"] * 141) + "|!end\nEOF PUBLIC V2\n"
    return [
        *(_table(_RECIPIENTS), _table(_AWARDS), sam.encode()),
        *(json.dumps([row, row]).encode(), f"{json.dumps(row)}\n{json.dumps(row)}\n".encode()),
        *(b"<!doctype html><title>x</title>", b"INSERT INTO x VALUES (1);", bz2.compress(_table(_RECIPIENTS))),
        *(lzma.compress(_table(_RECIPIENTS)), gzip.compress(_table(_RECIPIENTS))),
    ]


def _zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return written.getvalue()


def _zip_seeds() -> list[bytes]:
    table, rows = _table(_RECIPIENTS), b"\t".join([b"x"] * len(_RECIPIENTS)) + b"\n\\.\n"
    dump = {"d/toc.dat": dumps.toc([_rows_entry()]), "d/1.dat.gz": gzip.compress(rows)}
    return [
        _zipped({"a.csv": table}),
        _zipped({"a.csv": table, "b.csv": table, "__MACOSX/._a.csv": b"x"}, zipfile.ZIP_STORED),
        _zipped(dump),
        _zipped(dump | {"d/1.dat": rows}, zipfile.ZIP_STORED),
        _zipped({"a.csv": table}, zipfile.ZIP_BZIP2),
        _zipped({"a.csv": table}, zipfile.ZIP_LZMA),
        gzip.compress(table),
    ]


def _parquet_seeds() -> list[bytes]:
    texts: dict[str, Any] = {name: pa.array([f"{name} {row}" for row in range(4)]) for name in _RECIPIENTS}
    nested = texts | {"alternate_names": pa.array([["a"], None, [], ["b", None]], pa.large_list(pa.string_view()))}
    numbers = texts | {"zip5": pa.array([2139.0, None, 1e300, float("nan")]), "duns": pa.array([1, 2, 3, None])}
    encoded = numbers | {
        "recipient_hash": pa.array([bytes(16)] * 4, pa.uuid()),
        "state": texts["state"].dictionary_encode(),
    }
    seeds = []
    for columns in (texts, nested, encoded):
        for compression in ("none", "zstd"):
            written = io.BytesIO()
            pq.write_table(pa.table(columns), written, compression=compression, row_group_size=3)
            seeds.append(written.getvalue())
    return seeds


def _check_numbers(reader: Records) -> None:
    """Raise unless the rows of the blocks and the bad records have all numbers once."""
    rows = [int(row) for block in reader.blocks() for row in block.source_rows]
    rows = sorted([*rows, *(record.source_row for record in reader.bad_records)])
    # Other readers have lines that are no rows: the EOF line of a SAM extract, empty lines of JSON.
    complete = isinstance(reader, CopyText | DelimitedFile)
    if rows and rows != (list(range(rows[0], rows[0] + len(rows))) if complete else sorted(set(rows))):
        raise AssertionError(f"rows are lost or repeated: {rows}")


def _check_copy(data: bytes, _: Path) -> None:
    columns = 1 + len(data) % 4
    with suppress(EnrichError):
        _check_numbers(CopyText(io.BytesIO(data), columns, {str(at): at for at in range(columns)}, "x"))


def _check_cells(data: bytes, _: Path) -> None:
    found, broken = unescape(pa.array(data.decode("utf-8", "replace").split("\n")))
    found.validate(full=True)
    if pa.array(broken).true_count != found.null_count:
        raise AssertionError("a broken cell has a text")


def _check_toc(data: bytes, _: Path) -> None:
    with suppress(TocError):
        parse_toc(data)


def _check_table(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    with suppress(EnrichError), open_table(path) as file:
        _check_numbers(file)


def _check_recipients(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    with suppress(EnrichError):
        for batch in read_recipients(open_source(path), {}, batch_rows=2, scratch=path.parent):
            batch.recipients.validate(full=True)
            rejected = {row["source_row"] for row in batch.rejects.to_pylist() if row["outcome"] == "rejected"}
            if len(rejected) != batch.rows_rejected or batch.rows_rejected < 0:
                raise AssertionError(f"{batch.rows_rejected} rows are rejected, {len(rejected)} are reported")


def _check_awards(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    with suppress(EnrichError):
        read = read_awards(path, {})
        rejected = {row["source_row"] for row in read.rejects.to_pylist() if row["outcome"] == "rejected"}
        if not read.rows_read - len(read.awards) == read.rows_rejected == len(rejected):
            raise AssertionError(f"{read.rows_rejected} rows are rejected, {len(rejected)} are reported")


TARGETS = {
    "COPY text": Target(300, _copy_seeds, random_copy_text, _check_copy),
    "cells of COPY text": Target(150, _copy_seeds, random_copy_text, _check_cells),
    "table of contents": Target(250, _toc_seeds, mutate, _check_toc),
    "ZIP archives": Target(100, _zip_seeds, mutate, _check_recipients),
    "delimited text": Target(150, _table_seeds, random_table, _check_table),
    "Parquet files": Target(40, _parquet_seeds, mutate, _check_recipients),
    "recipients": Target(7, lambda: [_table(_RECIPIENTS)], random_table, _check_recipients),
    "awards": Target(3, lambda: [_table(_AWARDS)], random_table, _check_awards),
}


def fuzz(name: str, seed: int, inputs: int, directory: Path) -> None:
    """Check ``inputs`` inputs of a target. Raises ``AssertionError`` with the input that fails."""
    target, random = TARGETS[name], Random(seed)
    seeds = target.seeds()
    for number in range(inputs):
        data = target.make(random, seeds)
        try:
            target.check(data, directory / "input")
        except Exception as error:
            raise AssertionError(f"{name}, input {number} of seed {seed}: {error!r} for {data!r}") from error


def main() -> None:
    """Run all targets and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--out", type=Path, default=RECORD)
    given = parser.parse_args()
    total = sum(target.weight for target in TARGETS.values())
    record: dict[str, Any] = {"inputs": 0, "exceptions": 0, "seconds": 0.0, "targets": {}}
    record |= {"seed": given.seed, "sources_version": ENGINE_VERSION}
    with TemporaryDirectory() as name:
        for target in [given.target] if given.target else TARGETS:
            inputs = given.inputs * TARGETS[target].weight // (TARGETS[target].weight if given.target else total)
            start = time.monotonic()
            fuzz(target, given.seed, inputs, Path(name))
            seconds = round(time.monotonic() - start, 1)
            record["targets"][target] = {"inputs": inputs, "seconds": seconds}
            record["inputs"] += inputs
            record["seconds"] = round(record["seconds"] + seconds, 1)
            print(f"{target}: {inputs:,} inputs in {seconds:,} s", flush=True)
    write_json(given.out, record)


if __name__ == "__main__":
    main()
