"""In production nothing begins without a readiness file that is fresh, passed, and of this code and these settings."""

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
from enrich_dist.preflight.outcome import failed, unknown, warning
from enrich_dist.preflight.readiness_file import require_ready, verify
from enrich_dist.runs.revision import source_digest
from enrich_dist.settings import Settings, load_settings
from tests.conftest import REPOSITORY, enrich_dist
from tests.support.known_case import settings, write_inputs
from tests.support.listener import listening_for_posts, write_urls
from tests.support.preflight_case import make_ready


@pytest.fixture
def production(tmp_path: Path) -> Settings:
    return settings(tmp_path, environment="production")


def test_with_a_good_file_it_is_let_through(production: Settings) -> None:
    make_ready(production)

    require_ready(production)


def test_development_needs_none(tmp_path: Path) -> None:
    require_ready(settings(tmp_path))


def test_without_a_file_it_is_refused_with_what_to_do(production: Settings) -> None:
    with pytest.raises(
        ReadinessError, match=r"there is no .*readiness\.json\. Run `enrich-dist preflight --env"
    ) as told:
        require_ready(production)

    assert told.value.exit_code == EXIT_NOT_READY == 5


@pytest.mark.parametrize(
    ("findings", "named"),
    [
        ({"smoke_test": failed("no")}, "smoke_test"),
        ({"workers": unknown("no"), "baseline": failed("no")}, "baseline, workers"),
        ({"monitoring": failed("no"), "vulnerabilities": unknown("no")}, None),  # not critical
        ({"no_insecure_override": warning("but")}, None),
    ],
)
def test_only_critical_items_that_do_not_hold_block(
    production: Settings, findings: dict[str, Any], named: str | None
) -> None:
    make_ready(production, **findings)

    if named is None:
        require_ready(production)
    else:
        with pytest.raises(ReadinessError, match=f"critical items do not hold: {named}"):
            require_ready(production)


@pytest.mark.parametrize(
    ("hours", "message"),
    [(23.9, None), (24.1, r"is 24\.1 hours old, and readiness\.max_age_hours is 24"), (-0.05, None),
     (-1, "has not come yet by the clock")],
)  # fmt: skip
def test_it_is_good_for_so_long(production: Settings, hours: float, message: str | None) -> None:
    make_ready(production, now=datetime.now(UTC) - timedelta(hours=hours))

    if message is None:
        require_ready(production)
    else:
        with pytest.raises(ReadinessError, match=message):
            require_ready(production)


@pytest.mark.setting("readiness.max_age_hours")
def test_how_long_is_a_setting(tmp_path: Path) -> None:
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

    with pytest.raises(ReadinessError, match=r"other settings \(match_rate_threshold was 0\.5, is 0\.4\)"):
        require_ready(changed)


def test_a_preflight_of_development_is_none_of_production(tmp_path: Path, production: Settings) -> None:
    inputs = (production.inputs.awards, production.inputs.recipients)
    make_ready(settings(tmp_path, inputs=inputs))  # type: ignore[arg-type]

    with pytest.raises(ReadinessError, match="environment was development, is production"):
        require_ready(production)


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the file as somebody would who knows how its digest is made."""
    document = read_json(path)
    del document["readiness_blake3"]
    change(document)
    write_json(path, {**document, "readiness_blake3": document_digest(document)})


def test_another_revision_and_other_files_are_refused(production: Settings) -> None:
    path = make_ready(production)
    before = path.read_bytes()

    rewritten(path, lambda document: document.update(revision="0123456789"))
    with pytest.raises(ReadinessError, match="was made for revision 0123456789, and this is"):
        require_ready(production)

    path.write_bytes(before)
    rewritten(path, lambda document: document.update(source_digest="00"))
    with pytest.raises(ReadinessError, match="was made for other files of revision"):
        require_ready(production)


def test_one_byte_of_the_code_makes_it_another(tmp_path: Path) -> None:
    for name in ("enrich_dist", "dagster_defs"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    copied = source_digest(tmp_path / "enrich_dist")

    assert copied == source_digest()
    words = tmp_path / "enrich_dist" / "matching" / "data" / "legal_forms.txt"
    words.write_bytes(words.read_bytes() + b"\n")
    assert source_digest(tmp_path / "enrich_dist") != copied


def test_what_it_says_of_itself_does_not_count(production: Settings) -> None:
    path = make_ready(production, storage=failed("full"))

    rewritten(path, lambda document: document.update(ready=True, verdict="Ready for production."))
    with pytest.raises(ReadinessError, match="do not hold: storage"):
        require_ready(production)
    rewritten(path, lambda document: document.update(items=[]))
    with pytest.raises(ReadinessError, match="do not hold: all"):
        require_ready(production)


@given(data=st.data())
def test_a_byte_changed_anywhere_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
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
        same = json.loads(path.read_bytes()) == json.loads(good)  # white space, or the byte that was there
    except ValueError:
        same = False
    if same:
        verify(production)
    else:
        with pytest.raises(ReadinessError):
            verify(production)


def test_a_file_that_is_cut_or_no_file_is_refused(production: Settings) -> None:
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


def test_the_command_line_refuses_before_any_work_and_tells_the_operators(tmp_path: Path, config: Path) -> None:
    with listening_for_posts() as listener:
        urls = write_urls(tmp_path / "urls", listener.url())
        refused = enrich_dist("run", "--config", config, "--set", f"notifications.urls_file={urls}")

    assert refused.returncode == EXIT_NOT_READY
    [line] = [line for line in refused.stderr.splitlines() if line.startswith("Error:")]
    assert "Not ready: there is no" in line
    assert "Run `enrich-dist preflight --env production` with the same --config and --set" in line
    left = {path.name for path in (tmp_path / "work").rglob("*")}
    assert left <= {"notified.json", "notified.lock"}
    assert [post["title"] for post in listener.posts] == ["enrich_dist failed: start"]


def test_verify_only_reads_and_has_the_same_exit_codes(tmp_path: Path, config: Path) -> None:
    def verified(*overrides: str) -> tuple[int, str]:
        done = enrich_dist("preflight", "--verify", "--config", config, *overrides)
        return done.returncode, done.stdout + done.stderr

    before, told = verified()
    assert (before, (tmp_path / "work").exists()) == (EXIT_NOT_READY, False)
    assert "there is no" in told
    path = make_ready(load_settings(config, [], {}).settings)
    files = sorted((tmp_path / "work").rglob("*"))

    good, told = verified()
    assert (good, "Ready for production: checked at" in told) == (0, True)
    assert verified("--set", "chunk_size=11")[0] == EXIT_NOT_READY
    path.write_bytes(path.read_bytes().replace(b"As it should be", b"As it could be."))
    assert verified()[0] == EXIT_NOT_READY
    assert sorted((tmp_path / "work").rglob("*")) == files


def test_in_development_verify_asks_for_a_file_only_when_it_is_told_to(tmp_path: Path, config: Path) -> None:
    lets_in = enrich_dist("preflight", "--verify", "--set", "environment=development", "--config", config)
    done = enrich_dist("preflight", "--verify", "--env", "development", "--config", config)

    assert (lets_in.returncode, "Nothing to verify" in lets_in.stdout) == (0, True)

    assert done.returncode == EXIT_NOT_READY
