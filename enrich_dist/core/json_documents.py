"""JSON documents of one type each, with a format version and their own digest, and logs of one JSON object per line.

The digest detects damage and manual edits, but not a writer who recomputes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated, Any, Generic, Self, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from enrich_dist.core.files import canonical_json, json_bytes, parse_json, read_bytes, text_digest, write_json
from enrich_dist.core.owned_files import open_new_log
from enrich_dist.errors import CorruptionError
from enrich_dist.events import Notice, emit, warning_on_error

T = TypeVar("T")
Measure = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
_FORMAT = "format"


class JsonCodec(Generic[T]):
    """Convert values of one type to JSON documents and back.

    ``kind`` names the type in errors ("checkpoint record"), ``remedy`` says what to do about a damaged document.
    ``format_version`` and ``digest_key`` name fields that the codec adds; None leaves the field out.
    """

    def __init__(
        self,
        value_type: type[T],
        *,
        kind: str,
        remedy: str | None,
        format_version: int | None = None,
        digest_key: str | None = None,
    ) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(value_type)
        self._kind = kind
        self._remedy = remedy
        self._format_version = format_version
        self._digest_key = digest_key

    def to_document(self, value: T) -> dict[str, Any]:
        """Return the JSON object, with format version and digest."""
        document: dict[str, Any] = self._adapter.dump_python(value, mode="json")
        if self._format_version is not None:
            document[_FORMAT] = self._format_version
        if self._digest_key is not None:
            document[self._digest_key] = text_digest(canonical_json(document))
        return document

    def from_document(self, document: dict[str, Any], where: str) -> T:
        """Return the value that a JSON object contains; ``where`` names the file in errors. Raises ``CorruptionError``
        for another format version, a wrong digest, or a missing or malformed field."""
        content = dict(document)
        content_fields = content.keys() - {_FORMAT, self._digest_key}
        digest = content.pop(self._digest_key, None) if self._digest_key else None
        if self._format_version is not None and content.get(_FORMAT) != self._format_version:
            wrong = f"is not a {self._kind} of format {self._format_version} (found {content.get(_FORMAT)!r})"
            raise CorruptionError(f"{where} {wrong}.", remedy=self._remedy)
        text = canonical_json(content)
        if self._digest_key and digest != text_digest(text):
            raise CorruptionError(f"{where} was altered: its digest does not match.", remedy=self._remedy)
        try:
            # Strict, so that "7" is no number; in JSON mode, so that lists become tuples and strings become enums.
            value = self._adapter.validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            wrong = f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}"
            raise CorruptionError(f"{where} is not a {self._kind}: {wrong}.", remedy=self._remedy) from error
        # Computed fields are written, but are no input of the type.
        if unknown := content_fields - self._adapter.dump_python(value).keys():
            names = ", ".join(sorted(unknown))
            raise CorruptionError(f"{where} is not a {self._kind}: unknown field {names}.", remedy=self._remedy)
        return value

    def to_bytes(self, value: T) -> bytes:
        """Return the content of the file."""
        return json_bytes(self.to_document(value))

    def from_bytes(self, data: bytes, where: str) -> T:
        """Return the value that a file contains. Raises ``CorruptionError``."""
        return self.from_document(parse_json(data, where), where)

    def write(self, path: Path, value: T) -> None:
        """Write the document atomically."""
        write_json(path, self.to_document(value))

    def read(self, path: Path) -> T:
        """Read the document. Raises ``CorruptionError``, or ``FileNotFoundError`` when there is none."""
        return self.from_bytes(read_bytes(path), str(path))


class JsonLinesLog:
    """Context manager that overwrites the file. ``began``: when it was opened, by ``time.monotonic``. Each line is
    written at once, so that a killed run leaves all lines up to then. A log that cannot be written ends with a warning:
    the run goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        with warning_on_error(f"{self._path} could not be written"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_new_log(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # a rest that could not be written
                file.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Write a line; do nothing when the log is closed."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(line) + "\n")
        except OSError as error:
            self.__exit__()
            emit(Notice(f"{self._path} is not continued ({error.strerror}).", warning=True))


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of the file in order, without incomplete lines; none if the file does not exist."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict):
            yield found
