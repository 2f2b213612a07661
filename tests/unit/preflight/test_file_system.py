"""A work directory that cannot hold a run is refused before it, with the path and the cause."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from enrich_dist.errors import SettingsError
from enrich_dist.preflight.checks.file_system import check_file_systems
from enrich_dist.settings import Settings, load_settings
from tests.conftest import REPOSITORY
from tests.support.known_case import write_inputs
from tests.support.refused_calls import SUPPORTED

needs_filter = pytest.mark.skipif(not SUPPORTED, reason="no seccomp filter for this machine")
_PROBE = """
import json, sys
from pathlib import Path
from enrich_dist.errors import EnrichError
from enrich_dist.preflight.checks.file_system import check_file_systems, has_hard_links
from enrich_dist.settings import Settings
for place in json.loads(sys.argv[1]):
    try:
        check_file_systems(Settings(paths=place))
        print("passed", has_hard_links(Path(place["work_dir"])))
    except EnrichError as error:
        print(error)
"""


def refusing(error: str, calls: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "tests.support.refused_calls", error, calls, *map(str, command)]
    return subprocess.run(program, capture_output=True, text=True, check=False, cwd=REPOSITORY)


def at(work_dir: Path, **paths: object) -> Settings:
    return Settings(paths={"work_dir": work_dir, **paths})  # type: ignore[arg-type]


def test_usable_directory_is_left_as_it_was(tmp_path: Path) -> None:
    work, checkpoints = tmp_path / "new" / "work", tmp_path / "checkpoints"
    checkpoints.mkdir()
    start = time.monotonic()

    check_file_systems(at(work, checkpoints=str(checkpoints)))

    assert time.monotonic() - start < 1
    assert list(tmp_path.iterdir()) == [checkpoints]
    assert not list(checkpoints.iterdir())


@needs_filter
@pytest.mark.parametrize(
    ("error", "calls", "what"),
    [
        ("EPERM", "symlink,symlinkat", "symbolic link"),
        ("EPERM", "rename,renameat,renameat2", "renaming over"),
        ("EINVAL", "fsync", "fsync"),
        ("ENOLCK", "flock", "locking"),
        ("EPERM", "link,linkat", None),
    ],
)
def test_missing_feature_is_named_with_the_path(tmp_path: Path, error: str, calls: str, what: str | None) -> None:
    places = [{"work_dir": str(tmp_path)}, {"work_dir": "/dev/shm", "checkpoints": str(tmp_path)}]

    first, _ = refusing(error, calls, sys.executable, "-c", _PROBE, json.dumps(places)).stdout.splitlines()

    if what is None:
        assert first == "passed False"
    else:
        assert all(text in first for text in ("paths.work_dir", str(tmp_path), what))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["file", "link to nothing", "long name", "long path"])
def test_unusable_path_is_refused(tmp_path: Path, kind: str) -> None:
    work = tmp_path / "work"
    match kind:
        case "file":
            work.write_text("", "utf-8")
        case "link to nothing":
            work.symlink_to(tmp_path / "nothing")
        case "long name":
            work = tmp_path / ("n" * 300)
        case "long path":
            work = tmp_path.joinpath(*["n" * 200] * 20)

    with pytest.raises(SettingsError, match=r"paths\.work_dir"):
        check_file_systems(at(work))


def test_checkpoint_directory_is_tried_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")

    with pytest.raises(SettingsError, match=r"paths\.checkpoints"):
        check_file_systems(at(tmp_path / "work", checkpoints=str(tmp_path / "file" / "checkpoints")))


def test_too_few_descriptors_are_refused_with_the_number(tmp_path: Path) -> None:
    places = json.dumps([{"work_dir": str(tmp_path)}])

    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 64; exec "$@"', "bash", sys.executable, "-c", _PROBE, places],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip

    assert "64 files (ulimit -n)" in done.stdout


def test_soft_limit_of_descriptors_is_raised(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    settings = Settings.model_validate({"paths": {"work_dir": tmp_path}, "cluster": {"n_workers": 8}})
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
        check_file_systems(settings)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert (soft > 200, hard) == (True, limits[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("uri", ["s3://KEY:hush@bucket/work", "s3://bucket/work?secret=hush", "s3://KEY:hush/work"])
@pytest.mark.parametrize("flag", [True, False])
def test_uri_is_no_work_directory(uri: str, flag: bool) -> None:
    texts = [f"paths.work_dir={Path(uri) if flag else uri}"]  # --work-dir makes a path of it

    with pytest.raises(SettingsError, match="URI") as refused:
        load_settings(None, texts, environ={})

    assert "hush" not in str(refused.value)


@needs_filter
def test_run_without_symbolic_links_is_refused_before_it(tmp_path: Path) -> None:
    awards, recipients = write_inputs(tmp_path)
    inputs = ("--awards", awards, "--recipients", recipients, "--work-dir", tmp_path / "w")

    done = refusing("EPERM", "symlink,symlinkat", Path(sys.executable).with_name("enrich-dist"), "run", *inputs)

    assert done.returncode == 2, done.stderr + done.stdout
    assert "symbolic link" in done.stderr
    assert not (tmp_path / "w").exists()
