"""Artifacts and atomic files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich_dist.core.files import atomic_path, read_json, write_json
from enrich_dist.errors import CorruptionError
from enrich_dist.store.artifacts import get_or_build, open_unverified, open_verified


class Builder:
    """Counts builds."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, directory: Path) -> dict[str, Any]:
        self.calls += 1
        (directory / "data").write_bytes(b"content")
        return {"rows": 7}


def test_valid_artifact_is_reused(tmp_path: Path) -> None:
    build = Builder()

    first = get_or_build(tmp_path / "out", build)
    second = get_or_build(tmp_path / "out", build)

    assert build.calls == 1
    assert (first.reused, second.reused) == (False, True)
    assert second.facts == {"rows": 7}
    assert first.content_digest == second.content_digest


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "data").write_bytes(b"Content"),
        lambda path: (path / "data").unlink(),
        lambda path: (path / "more").write_bytes(b""),
        lambda path: (path / "manifest.json").write_bytes(b"{"),
        lambda path: (path / "manifest.json").unlink(),
        lambda path: (path / "manifest.json").write_text("{}"),
        lambda path: (path / "manifest.json").write_text((path / "manifest.json").read_text().replace("7", "8", 1)),
    ],
)
def test_damaged_artifact_is_rebuilt(tmp_path: Path, damage: Any) -> None:
    build = Builder()
    get_or_build(tmp_path / "out", build)
    damage(tmp_path / "out")

    with pytest.raises(CorruptionError):
        open_verified(tmp_path / "out")
    rebuilt = get_or_build(tmp_path / "out", build)

    assert build.calls == 2
    assert not rebuilt.reused
    assert (tmp_path / "out" / "data").read_bytes() == b"content"


@given(position=st.integers(min_value=0, max_value=1 << 20), bit=st.integers(0, 7))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_manifest_bit_is_detected(tmp_path: Path, position: int, bit: int) -> None:
    written = get_or_build(tmp_path / "out", Builder())
    manifest = tmp_path / "out" / "manifest.json"
    data = bytearray(manifest.read_bytes())
    data[position % len(data)] ^= 1 << bit
    manifest.write_bytes(data)

    with pytest.raises(CorruptionError):
        open_unverified(tmp_path / "out")
    assert get_or_build(tmp_path / "out", Builder()).facts == written.facts


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def build(directory: Path) -> dict[str, Any]:
        (directory / "half").write_bytes(b"")
        raise RuntimeError("disk gone")

    with pytest.raises(RuntimeError):
        get_or_build(tmp_path / "out", build)

    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_old_file(tmp_path: Path) -> None:
    final = tmp_path / "file"
    final.write_bytes(b"old")

    def fail() -> None:
        with atomic_path(final) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError("disk gone")

    with pytest.raises(RuntimeError):
        fail()

    assert final.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_json_bytes_ignore_key_order(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1, "y": "é"})
    write_json(tmp_path / "b.json", {"y": "é", "x": 1})

    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"x": 1, "y": "é"}
