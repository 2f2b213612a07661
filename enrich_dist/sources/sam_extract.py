"""SAM.gov's public entity extract: lines of 142 fields between ``|`` without a header, between a BOF and an EOF line.

An entity has a line for each EFT indicator; ``bulk_download`` merges the lines of a UEI. Covers the layout V2. Does not
cover V1 (with DUNS numbers) nor the sensitive extracts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from enrich_dist.errors import SourceError
from enrich_dist.remedies import DOWNLOAD_AGAIN
from enrich_dist.sources.delimited import BLOCK_BYTES, Block, RecordReader
from enrich_dist.sources.string_bytes import TEXT_NULL
from enrich_dist.sources.text_file import Utf8Stream

_FIELDS: Final = 142
_BOF: Final = b"BOF PUBLIC "
_EOF: Final = "EOF PUBLIC "
# The fields that are read, by their positions in the layout, and their names in this program.
_NAMES: Final = {
    0: "uei",
    11: "name",
    12: "dba_name",
    15: "address_line_1",
    16: "address_line_2",
    17: "city",
    18: "state",
    19: "zip5",
    20: "zip4",
    21: "country_code",
    22: "congressional_district",
}


def is_sam_extract(stream: Utf8Stream) -> bool:
    """Return whether the text is one of SAM's public extracts."""
    return stream.peek(len(_BOF)) == _BOF


class SamExtract(RecordReader):
    """The entity lines of an extract. Rows are counted with the BOF line."""

    header_row = 1
    header = ("recipient_id", *_NAMES.values())  # the UEI is the identifier

    def __init__(self, stream: Utf8Stream, path: object) -> None:
        super().__init__(stream, [f"c{position}" for position in range(_FIELDS)], path)
        first = stream.peek(1 << 16).decode("utf-8", "ignore").splitlines()
        fields = first[1].count("|") + 1 if len(first) > 1 else _FIELDS
        if fields != _FIELDS and not first[1].startswith(_EOF):
            problem = f"is a SAM extract with {fields} fields; the public layout V2 has {_FIELDS}."
            raise SourceError(problem, path=path, remedy="Download the public V2 extract.")
        self._stream = stream
        self._complete = False

    @property
    def bytes_repaired(self) -> int:
        """Bytes read so far that were not UTF-8."""
        return self._stream.bytes_repaired

    def blocks(self) -> Iterator[Block]:
        """Yield the entities in order. Raises ``SourceError`` where the EOF line is missing."""
        wanted = [self._names[position] for position in _NAMES]
        batches = self._batches(
            {"delimiter": "|", "quote_char": False, "newlines_in_values": False},
            {"include_columns": wanted, "null_values": [], "strings_can_be_null": False},
        )
        for rows, batch in batches:
            if len(rows):
                yield Block([batch.column(0), *batch.columns], rows, pa.repeat(TEXT_NULL, len(rows)))
        if not self._complete:
            raise SourceError("has no EOF line: it is incomplete.", path=self._path, remedy=DOWNLOAD_AGAIN)

    def _skip_bad_record(self, record: Any) -> str:
        if record.text.startswith(_EOF):
            self._complete = True
            return "skip"
        return super()._skip_bad_record(record)

    def _read_error(self, error: pa.ArrowInvalid, row: int) -> SourceError:
        long = f"a line is longer than {BLOCK_BYTES >> 20} MB" if "straddling" in str(error) else str(error)
        return SourceError(f"cannot be read as a SAM extract: {long}.", path=self._path, row=row, remedy=DOWNLOAD_AGAIN)
