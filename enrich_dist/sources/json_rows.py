"""JSON as rows of text cells: one object per line, or a file that is one array of objects.

The columns are the keys in the first block of lines; a further key in a later row is an error. Numbers keep their
digits, lists and objects are JSON text. An array is read into memory, so it has a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.core.database import evaluate
from enrich_dist.errors import SourceError
from enrich_dist.sources.delimited import BLOCK_BYTES, MAX_SHOWN_CHARACTERS, BadRecord, Block, RecordReader
from enrich_dist.sources.string_bytes import TEXT_NULL
from enrich_dist.sources.text_file import Utf8Stream

_MAX_ARRAY_BYTES: Final = 100_000_000
_LINES: Final = "Save it with one object per line (JSON lines), or as CSV."
_NO_CHARACTER: Final = "\x1f"  # JSON has it only escaped, so a line is one cell


def is_json(stream: Utf8Stream) -> bool:
    """Return whether the text begins as a JSON object or an array of objects."""
    start = stream.peek(4096).lstrip()
    return start.startswith(b"{") or (start.startswith(b"[") and start[1:].lstrip()[:1] in (b"{", b"]"))


class JsonRows(RecordReader):
    """The objects of a file. Lines, or elements of the array, are counted from 1."""

    def __init__(self, stream: Utf8Stream, path: object) -> None:
        super().__init__(stream, ["line"], path)
        self._stream = stream
        self.is_in_memory = stream.peek(4096).lstrip().startswith(b"[")
        self._blocks = self._elements() if self.is_in_memory else self._lines()
        first = next(self._blocks, None)
        if first is None:
            raise SourceError("has no rows.", path=path)
        self._first = first
        self.header = tuple(self._keys(first[1]))
        if not self.header:
            raise SourceError("is JSON, but not one object per line nor an array of objects.", path=path, remedy=_LINES)

    @property
    def bytes_repaired(self) -> int:
        """Bytes read so far that were not UTF-8."""
        return self._stream.bytes_repaired

    def blocks(self) -> Iterator[Block]:
        """Yield the objects in order. Raises ``SourceError`` for a key that the first block lacks."""
        yield from self._split(*self._first)
        for rows, objects in self._blocks:
            if len(rows) and (further := set(self._keys(objects)) - set(self.header)):
                problem = f"rows from here on have the key '{min(further)}', which the first rows lack."
                remedy = "Give the first object all keys, with null where it has no value."
                raise SourceError(problem, path=self._path, row=int(rows[0]), remedy=remedy)
            if len(rows):
                yield from self._split(rows, objects)

    def _split(self, rows: npt.NDArray[np.int64], objects: pa.Array) -> Iterator[Block]:
        pointers = ["/" + key.replace("~", "~0").replace("/", "~1").replace("'", "''") for key in self.header]
        cells = ", ".join(f"c{place} := json_extract_string(x, '{at}')" for place, at in enumerate(pointers))
        found = evaluate(f"struct_pack({cells})", pc.coalesce(objects, pa.scalar("{}")))
        is_object = np.flatnonzero(objects.is_valid().to_numpy(zero_copy_only=False))
        if len(is_object):
            taken = found.take(pa.array(is_object))
            columns = [pc.fill_null(column, "") for column in taken.flatten()]
            yield Block(columns, rows[is_object], pa.repeat(TEXT_NULL, len(is_object)))

    def _keys(self, objects: pa.Array) -> list[str]:
        """Return the keys of the objects in the order of their first appearance."""
        known = pc.list_flatten(evaluate("json_keys(x)", objects.drop_null()))
        return [str(key) for key in pc.unique(known).to_pylist()]

    def _lines(self) -> Iterator[tuple[npt.NDArray[np.int64], pa.Array]]:
        batches = self._batches(
            {"delimiter": _NO_CHARACTER, "quote_char": False, "newlines_in_values": False},
            {"null_values": [], "strings_can_be_null": False},
        )
        for rows, batch in batches:
            lines = batch.column(0)
            filled = np.flatnonzero(pc.not_equal(pc.utf8_trim_whitespace(lines), "").to_numpy(zero_copy_only=False))
            if len(filled):
                yield rows[filled], self._objects(rows[filled], lines.take(pa.array(filled)))

    def _elements(self) -> Iterator[tuple[npt.NDArray[np.int64], pa.Array]]:
        text = self._stream.read(_MAX_ARRAY_BYTES + 1)
        if len(text) > _MAX_ARRAY_BYTES:
            problem = f"is a JSON array of more than {_MAX_ARRAY_BYTES / 1e6:,.0f} MB."
            raise SourceError(problem, path=self._path, remedy=_LINES)
        document = pa.array([text.decode()])
        if not evaluate("json_valid(x)", document)[0].as_py():  # DuckDB's error could not always be decoded
            raise SourceError("begins as a JSON array, but is not valid JSON.", path=self._path, remedy=_LINES)
        values = pc.list_flatten(evaluate("from_json(x, '[\"JSON\"]')", document))
        for start in range(0, len(values), 50_000):
            some = values.slice(start, 50_000)
            rows = np.arange(start + 1, start + len(some) + 1, dtype=np.int64)
            yield rows, self._objects(rows, pc.fill_null(some, "null"))

    def _objects(self, rows: npt.NDArray[np.int64], texts: pa.Array) -> pa.Array:
        """Return the texts that are JSON objects, else null; add the others to the bad records."""
        kinds = evaluate("case when json_valid(x) then json_type(x) = 'OBJECT' else false end", texts)
        bad = np.flatnonzero(~kinds.to_numpy(zero_copy_only=False))
        for place in bad:
            shown = str(texts[int(place)])[:MAX_SHOWN_CHARACTERS]
            self.bad_records.append(BadRecord(int(rows[place]), "no JSON object", shown))
        return pc.if_else(kinds, texts, TEXT_NULL)

    def _read_error(self, error: pa.ArrowInvalid, row: int) -> SourceError:
        long = f"a line is longer than {BLOCK_BYTES >> 20} MB" if "straddling" in str(error) else str(error)
        return SourceError(f"cannot be read as JSON lines: {long}.", path=self._path, row=row, remedy=_LINES)
