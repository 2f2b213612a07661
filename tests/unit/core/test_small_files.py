"""Small files that users make: regular ones of a bounded size, in UTF-8; anything else is refused at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from enrich_dist.cluster.kinds import check_cluster
from enrich_dist.core.files import parse_json
from enrich_dist.errors import EXIT_BAD_INPUT, CorruptionError, EnrichError
from enrich_dist.monitoring.notify import read_addresses
from enrich_dist.results import review_sheet
from enrich_dist.settings import Settings, load_settings


def check_certificate(path: Path) -> None:
    tls = {"ca_file": path, "cert_file": path, "key_file": path}
    check_cluster(Settings.model_validate({"cluster": {"kind": "address", "address": "tls://host:1", "tls": tls}}))


READERS: dict[str, Callable[[Path], object]] = {
    "settings": lambda path: load_settings(path, [], {}),
    "addresses": read_addresses,
    "review": review_sheet.read_sheet,
    "certificate": check_certificate,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_only_regular_files_are_read(reader: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "loop", Path("/dev/zero"), tmp_path / "missing"):
        with pytest.raises(EnrichError, match=str(path)) as raised:
            reader(path)
        assert raised.value.exit_code == EXIT_BAD_INPUT


@pytest.mark.parametrize("name", ["settings", "addresses", "review"])
def test_large_or_binary_file_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_sheet, "_MAX_BYTES", 100_000)
    for content in (b"#" * 300_000, b"\x89PNG\xff\xfe"):
        (tmp_path / "file").write_bytes(content)
        (tmp_path / "file").chmod(0o600)
        with pytest.raises(EnrichError, match=str(tmp_path / "file")) as raised:
            READERS[name](tmp_path / "file")
        assert raised.value.exit_code == EXIT_BAD_INPUT


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000, "[1]", "{", "\ud800"])
def test_hostile_json_is_damage(text: str) -> None:
    with pytest.raises(CorruptionError, match=r"record\.json"):
        parse_json(text.encode("utf-8", "surrogatepass"), "record.json")
