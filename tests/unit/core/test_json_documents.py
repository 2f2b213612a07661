"""JSON documents: values are read back as written, and damaged or foreign documents are refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from pydantic import computed_field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from enrich_dist.core.files import read_json, write_json
from enrich_dist.core.json_documents import JsonCodec
from enrich_dist.errors import CorruptionError


class Kind(StrEnum):
    SMALL = "small"


@dataclass(frozen=True)
class Item:
    name: str
    kind: Kind
    sizes: tuple[int, ...]
    seconds: float | None = None


@pydantic_dataclass(frozen=True)
class Rectangle:
    width: int
    height: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.width * self.height


ITEM = Item("naïve", Kind.SMALL, (1, 2), 0.1)
REMEDY = "Measure again."
PLAIN = JsonCodec(Item, kind="item", remedy=REMEDY)
SEALED = JsonCodec(Item, kind="item", remedy=REMEDY, format_version=3, digest_key="blake3")


@pytest.mark.parametrize("codec", [PLAIN, SEALED])
def test_value_is_read_back(codec: JsonCodec[Item], tmp_path: Path) -> None:
    codec.write(tmp_path / "item.json", ITEM)

    assert codec.read(tmp_path / "item.json") == ITEM
    assert codec.from_bytes(codec.to_bytes(ITEM), "item.json") == ITEM


def test_codec_adds_format_and_digest() -> None:
    fields = {"name", "kind", "sizes", "seconds"}

    assert PLAIN.to_document(ITEM).keys() == fields
    assert SEALED.to_document(ITEM).keys() == fields | {"format", "blake3"}
    assert SEALED.to_document(ITEM)["format"] == 3


@pytest.mark.parametrize("change", [{"name": "other"}, {"sizes": [1, 2, 3]}, {"added": 1}, {"blake3": "0" * 64}])
def test_altered_document_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "item.json"
    SEALED.write(path, ITEM)
    write_json(path, read_json(path) | change)

    with pytest.raises(CorruptionError, match="was altered") as refused:
        SEALED.read(path)

    assert refused.value.remedy == REMEDY


@pytest.mark.parametrize("field", ["blake3", "format"])
def test_missing_seal_is_refused(field: str) -> None:
    document = SEALED.to_document(ITEM)
    del document[field]

    with pytest.raises(CorruptionError):
        SEALED.from_document(document, "item.json")


def test_other_format_is_refused() -> None:
    newer = JsonCodec(Item, kind="item", remedy=REMEDY, format_version=4, digest_key="blake3")

    with pytest.raises(CorruptionError, match=r"format 3.*found 4"):
        SEALED.from_bytes(newer.to_bytes(ITEM), "item.json")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sizes": [1, "2"]}, "sizes.1"),
        ({"kind": "huge"}, "kind"),
        ({"seconds": "0.1"}, "seconds"),
        ({"added": 1, "further": 2}, "unknown field added, further"),
    ],
)
def test_malformed_document_names_the_field(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(CorruptionError, match=problem):
        PLAIN.from_document(PLAIN.to_document(ITEM) | change, "item.json")


def test_missing_field_is_refused() -> None:
    with pytest.raises(CorruptionError, match="sizes"):
        PLAIN.from_document({"name": "a", "kind": "small"}, "item.json")


def test_computed_field_is_no_input() -> None:
    codec = JsonCodec(Rectangle, kind="rectangle", remedy=None, digest_key="blake3")
    document = codec.to_document(Rectangle(2, 3))

    assert document["area"] == 6
    assert codec.from_document(document, "rectangle.json") == Rectangle(2, 3)


def test_missing_file_is_no_corruption(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PLAIN.read(tmp_path / "item.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_other_content_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "item.json"
    path.write_bytes(content)

    with pytest.raises(CorruptionError, match=r"item\.json"):
        PLAIN.read(path)
