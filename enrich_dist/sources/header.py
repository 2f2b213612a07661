"""Find the header of delimited text: its row, its delimiter, and the rows that repeat it.

The header is the record with the most known column names, so that a preamble before it is skipped and the delimiter
follows from it. Without known names it is the first record. Only the first records are looked at.
"""

from __future__ import annotations

import csv
import io
import string
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.errors import SourceError
from enrich_dist.remedies import DOWNLOAD_AGAIN
from enrich_dist.sources.columns import Layout, known_headers, plain_header

DELIMITERS: Final = (",", ";", "\t", "|")
_MAX_RECORDS: Final = 100  # of a preamble and the header
_MIN_KNOWN: Final = 2  # known names of a header that follows a preamble
_MIN_OWN_NAMES: Final = 3  # of a row that is a header
_SEP: Final = "sep="
REPEATED: Final = "repeats the header row"


@dataclass(frozen=True)
class Header:
    """Column names, their row (from 1) and the delimiter."""

    names: tuple[str, ...]
    row: int
    delimiter: str = ","


def find_header(text: str, mapped: Collection[str], path: object) -> Header:
    """Find the header in the beginning of a file. ``mapped``: headers that a column map names.

    A first line ``sep=;`` sets the delimiter, as in spreadsheet programs. Raises ``SourceError`` without a header.
    """
    named = _named_delimiter(text)
    expected = known_headers() | {plain_header(header) for header in mapped}
    found = []
    for delimiter in (named,) if named else DELIMITERS:
        header = best_header(_records(text, delimiter, path), expected, path, after=1 if named else 0)
        found.append(Header(header.names, header.row, delimiter))
    # The first of equals, in the order of the delimiters.
    return max(found, key=lambda header: (_known(header.names, expected), len(header.names)))


def _records(text: str, delimiter: str, path: object) -> Iterator[list[str]]:
    """Yield the records up to the first with a cell that is too long for a header."""
    count = 0
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            yield cells
            count += 1
    except csv.Error as error:
        if not count:
            problem = f"the header cannot be read ({error})."
            raise SourceError(problem, path=path, row=1, remedy="Check that the file has line breaks.") from error


def best_header(records: Iterable[Sequence[str]], expected: Collection[str], path: object, *, after: int = 0) -> Header:
    """Return the first record with the most known names. Raises ``SourceError`` where no record has text."""
    first, best, most = None, None, _MIN_KNOWN - 1
    for row, cells in enumerate(islice(records, _MAX_RECORDS + after), start=1):
        names = tuple(cell.strip("\ufeff \t\r\n\xa0") for cell in cells)
        if row <= after or not any(names):
            continue
        first = first or Header(names, row)
        if len(names) > most and (known := _known(names, expected)) > most:
            best, most = Header(names, row), known
    if first is None:
        raise SourceError("the file has no header.", path=path, remedy=DOWNLOAD_AGAIN)
    return best or first


def has_header(records: Iterable[Sequence[str]], expected: Collection[str]) -> bool:
    """Return whether a record has known names."""
    return any(_known(cells, expected) >= _MIN_KNOWN for cells in records)


def _known(names: Iterable[str], expected: Collection[str]) -> int:
    return len({plain_header(name) for name in names}.intersection(expected))


def _named_delimiter(text: str) -> str | None:
    line = next(iter(text.splitlines()), "").strip("\"' ")
    named = line[len(_SEP) : len(_SEP) + 1] if line.lower().startswith(_SEP) else ""
    return named if named.isascii() and (named == "\t" or named in string.punctuation) and named else None


def repeats_header(
    cells: Sequence[pa.Array], names: Sequence[str], rows: npt.NDArray[np.int64], path: object
) -> npt.NDArray[np.bool_]:
    """Return which records repeat the header, in any case of letters and after a byte order mark.

    ``rows``: their row numbers. Raises ``SourceError`` for a header with the columns in another order, as the cells
    after it are in other columns.
    """
    wanted = list(map(_folded, names))
    repeated = np.zeros(len(rows), dtype=bool)
    lead = next(position for position, name in enumerate(wanted) if name)
    # Few cells of one column equal a header; only those records are compared.
    values = pc.utf8_trim(pc.ascii_lower(cells[lead]), characters='\ufeff" ')
    for place in np.flatnonzero(pc.is_in(values, value_set=pa.array(sorted({*wanted} - {""})))):
        found = [_folded(column[int(place)].as_py() or "") for column in cells]
        repeated[place] = found == wanted
        if not repeated[place] and len(names) > 1 and sorted(found) == sorted(wanted):
            problem = "a second header has the columns in another order, so the cells after it are in other columns."
            remedy = "Give the files that were joined as a list, or in a folder."
            raise SourceError(problem, path=path, row=int(rows[place]), remedy=remedy)
    return repeated


def names_columns(cells: Mapping[str, pa.Array], layout: Layout) -> npt.NDArray[np.bool_]:
    """Return which rows have known names of their own columns as cells: the header of another file, in any format.

    ``cells``: a string array for each canonical column that was found.
    """
    [lead] = layout.indispensable
    known = {name: {plain_header(alias) for alias in (name, *layout.aliases[name])} for name in cells}
    written = (lead, *layout.aliases[lead])
    variants = sorted({alias.replace(old, new) for alias in written for old, new in (("_", " "), (" ", "_"))})
    found = pc.is_in(pc.ascii_lower(cells[lead]), value_set=pa.array(variants)).to_numpy(zero_copy_only=False)
    for place in np.flatnonzero(found):
        own = sum(plain_header(values[int(place)].as_py() or "") in known[name] for name, values in cells.items())
        found[place] = own >= min(_MIN_OWN_NAMES, len(cells))
    return np.asarray(found)


def _folded(name: str) -> str:
    return name.strip('\ufeff" \t\r\n\xa0').lower()
