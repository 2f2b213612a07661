"""Production runs require a readiness file that is recent, passed, and of this code and these settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.core.files import document_digest, read_json, write_json
from enrich_dist.errors import EXIT_NOT_READY, ReadinessError
from enrich_dist.preflight.context import failed, unknown, warning
from enrich_dist.preflight.readiness_file import require_ready, verify
from enrich_dist.remedies import PREFLIGHT
from enrich_dist.runs.environment import source_digest
from enrich_dist.settings import Settings, load_settings
from tests.conftest import REPOSITORY, enrich_dist
from tests.support.known_case import settings, write_inputs
from tests.support.listener import listening_for_posts, write_urls
from tests.support.preflight_case import make_ready


@pytest.fixture
def production(tmp_path: Path) -> Settings:
    return settings(tmp_path, environment="production")


def test_passed_file_is_accepted(production: Settings) -> None:
    make_ready(production)

    require_ready(production)


def test_development_needs_no_file(tmp_path: Path) -> None:
    require_ready(settings(tmp_path))


def test_missing_file_is_refused(production: Settings) -> None:
    with pytest.raises(ReadinessError, match=r"readiness\.json does not exist") as raised:
        require_ready(production)

    assert raised.value.exit_code == EXIT_NOT_READY == 5
    assert raised.value.remedy == PREFLIGHT


@pytest.mark.parametrize(
    ("outcomes", "named"),
    [
        ({"smoke_test": failed("no")}, "smoke_test"),
        ({"workers": unknown("no"), "baseline": failed("no")}, "baseline, workers"),
        ({"monitoring": failed("no"), "vulnerabilities": unknown("no")}, None),  # not critical
        ({"no_insecure_override": warning("but")}, None),
    ],
)
def test_only_failed_critical_checks_refuse(production: Settings, outcomes: dict[str, Any], named: str | None) -> None:
    make_ready(production, **outcomes)

    if named is None:
        require_ready(production)
    else:
        with pytest.raises(ReadinessError, match=f"failed critical checks: {named}"):
            require_ready(production)


@pytest.mark.parametrize(
    ("hours", "message"),
    [(23.9, None), (24.1, r"24\.1 hours old"), (-0.05, None),
     (-1, "in the future")],
)  # fmt: skip
def test_file_expires(production: Settings, hours: float, message: str | None) -> None:
    make_ready(production, now=datetime.now(UTC) - timedelta(hours=hours))

    if message is None:
        require_ready(production)
    else:
        with pytest.raises(ReadinessError, match=message):
            require_ready(production)


@pytest.mark.setting("readiness.max_age_hours")
def test_max_age_is_a_setting(tmp_path: Path) -> None:
    short = settings(tmp_path, environment="production", readiness={"max_age_hours": 0.5})
    make_ready(short, now=datetime.now(UTC) - timedelta(hours=1))

    with pytest.raises(ReadinessError, match=r"is 1\.0 hours old"):
        require_ready(short)


@pytest.mark.setting("environment")
def test_changed_settings_are_named(tmp_path: Path, production: Settings) -> None:
    make_ready(production)
    changed = settings(
        tmp_path, inputs=(production.inputs.awards, production.inputs.recipients), environment="production",  # type: ignore[arg-type]
        match_rate_threshold=0.4,
    )  # fmt: skip

    with pytest.raises(ReadinessError, match=r"match_rate_threshold was 0\.5, is 0\.4"):
        require_ready(changed)


def test_development_file_is_refused(tmp_path: Path, production: Settings) -> None:
    inputs = (production.inputs.awards, production.inputs.recipients)
    make_ready(settings(tmp_path, inputs=inputs))  # type: ignore[arg-type]

    with pytest.raises(ReadinessError, match="environment was development, is production"):
        require_ready(production)


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the file and its digest."""
    document = read_json(path)
    del document["readiness_blake3"]
    change(document)
    write_json(path, {**document, "readiness_blake3": document_digest(document)})


def test_other_code_is_refused(production: Settings) -> None:
    path = make_ready(production)
    before = path.read_bytes()

    rewrite(path, lambda document: document.update(revision="0123456789"))
    with pytest.raises(ReadinessError, match="is of revision 0123456789"):
        require_ready(production)

    path.write_bytes(before)
    rewrite(path, lambda document: document.update(source_digest="00"))
    with pytest.raises(ReadinessError, match="source files have changed"):
        require_ready(production)


def test_source_digest_sees_one_byte(tmp_path: Path) -> None:
    for name in ("enrich_dist", "dagster_defs"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    copied = source_digest(tmp_path / "enrich_dist")

    assert copied == source_digest()
    words = tmp_path / "enrich_dist" / "matching" / "data" / "legal_forms.txt"
    words.write_bytes(words.read_bytes() + b"\n")
    assert source_digest(tmp_path / "enrich_dist") != copied


def test_stated_verdict_is_ignored(production: Settings) -> None:
    path = make_ready(production, storage=failed("full"))

    rewrite(path, lambda document: document.update(ready=True, verdict="Ready for production."))
    with pytest.raises(ReadinessError, match="failed critical checks: storage"):
        require_ready(production)
    rewrite(path, lambda document: document.update(items=[]))
    with pytest.raises(ReadinessError, match="failed critical checks: all"):
        require_ready(production)


@given(data=st.data())
def test_changed_byte_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "tampered"
    production = Settings(environment="production", paths={"work_dir": folder})  # type: ignore[arg-type]
    path = folder / "readiness" / "readiness.json"
    if not path.exists():
        make_ready(production)
        shutil.copyfile(path, folder / "good.json")
    good = (folder / "good.json").read_bytes()
    position = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255))
    path.write_bytes(good[:position] + bytes([byte]) + good[position + 1 :])

    try:
        same = json.loads(path.read_bytes()) == json.loads(good)  # white space, or the same byte
    except ValueError:
        same = False
    if same:
        verify(production)
    else:
        with pytest.raises(ReadinessError):
            verify(production)


def test_unreadable_file_is_refused(production: Settings) -> None:
    path = make_ready(production)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReadinessError, match="is not valid JSON"):
        require_ready(production)

    path.unlink()
    path.mkdir()
    with pytest.raises(ReadinessError, match="cannot be read"):
        require_ready(production)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    awards, recipients = write_inputs(tmp_path / "inputs")
    path = tmp_path / "production.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "environment": "production",
                "inputs": {"awards": str(awards), "recipients": str(recipients)},
                "paths": {"work_dir": str(tmp_path / "work")},
                "chunk_size": 10,
                "match_rate_threshold": 0.5,
            }
        ),
        "utf-8",
    )
    return path


def test_command_refuses_and_notifies(tmp_path: Path, config: Path) -> None:
    with listening_for_posts() as listener:
        urls = write_urls(tmp_path / "urls", listener.url())
        refused = enrich_dist("run", "--config", config, "--set", f"notifications.urls_file={urls}")

    assert refused.returncode == EXIT_NOT_READY
    [line] = [line for line in refused.stderr.splitlines() if line.startswith("Error:")]
    assert line.endswith(PREFLIGHT)
    left = {path.name for path in (tmp_path / "work").rglob("*")}
    assert left <= {"notified.json", "notified.lock"}
    assert [post["title"] for post in listener.posts] == ["enrich_dist failed: start"]


def test_verify_changes_no_file(tmp_path: Path, config: Path) -> None:
    def verified(*overrides: str) -> tuple[int, str]:
        done = enrich_dist("preflight", "--verify", "--config", config, *overrides)
        return done.returncode, done.stdout + done.stderr

    before, _ = verified()
    assert (before, (tmp_path / "work").exists()) == (EXIT_NOT_READY, False)
    path = make_ready(load_settings(config, [], {}).settings)
    files = sorted((tmp_path / "work").rglob("*"))

    good, shown = verified()
    assert (good, "Ready for production" in shown) == (0, True)
    assert verified("--set", "chunk_size=11")[0] == EXIT_NOT_READY
    path.write_bytes(path.read_bytes().replace(b"As it should be", b"As it could be."))
    assert verified()[0] == EXIT_NOT_READY
    assert sorted((tmp_path / "work").rglob("*")) == files


def test_verify_in_development_needs_env(config: Path) -> None:
    skipped = enrich_dist("preflight", "--verify", "--set", "environment=development", "--config", config)
    required = enrich_dist("preflight", "--verify", "--env", "development", "--config", config)

    assert (skipped.returncode, required.returncode) == (0, EXIT_NOT_READY)
