"""One stale file handle or I/O error of a shared file system is retried; a lasting one is not."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.support.failing_calls import COMPILER, environment

_SCRIPT = """
import sys
from pathlib import Path
from enrich_dist.core import files
from enrich_dist.core.storage.local import LocalStorage
from enrich_dist.store.artifacts import get_or_build, open_verified

def build(directory):
    (directory / "data.bin").write_bytes(b"content")
    return {"rows": 7}

files._RETRY_SECONDS = 0.01
work = Path(sys.argv[1])
storage = LocalStorage(work / "checkpoints")
storage.put("key.ckpt", b"checkpoint")
assert storage.list()[0].bytes == storage.size("key.ckpt") == 10
assert storage.get("key.ckpt") == b"checkpoint"
assert storage.digest("key.ckpt") == files.bytes_digest(b"checkpoint")
get_or_build(work / "artifact", build)
assert open_verified(work / "artifact").facts == {"rows": 7}
"""

pytestmark = pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="no C compiler")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.mark.parametrize(
    ("call", "name", "error"),
    [
        ("open", "key.ckpt", errno.ESTALE), ("read", "key.ckpt", errno.EIO), ("write", ".ckpt", errno.EIO),
        ("fsync", ".ckpt", errno.EIO), ("rename", "key.ckpt", errno.ESTALE), ("read", "data.bin", errno.ESTALE),
        ("open", "manifest.json", errno.EIO), ("write", ".json", errno.ESTALE), ("rename", "manifest.json", errno.EIO),
    ],
)  # fmt: skip
def test_one_error_is_retried(tmp_path: Path, library: Path, call: str, name: str, error: int) -> None:
    once, lasting = (
        subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(tmp_path / str(times))],
            env=environment(library, call, name, error, times=times), cwd=REPOSITORY,
            capture_output=True, text=True, check=False,
        )
        for times in (1, 99)
    )  # fmt: skip

    assert once.returncode == 0, once.stderr
    assert f"[Errno {error}]" in lasting.stderr.splitlines()[-1]
