"""The units for bare metal, read by systemd itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.test_files import SERVICE
from tests.deploy.tools import DEPLOY

UNITS = sorted(path for path in (DEPLOY / "systemd").iterdir() if path.suffix in (".service", ".timer", ".target"))
INSTANCES = {
    "enrich-dist@.service": "enrich-dist@scheduler.service",
    "enrich-dist-worker@.service": "enrich-dist-worker@1.service",
}
_MOST_EXPOSURE = 20  # of 100, by systemd's own weights


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system with the units where they are installed."""
    if shutil.which("systemd-analyze") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no systemd here (Debian: systemd)")
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(unit, units)
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr" / "lib" / "systemd" / "system", symlinks=True)
    (tmp_path / "opt/enrich-dist/bin").mkdir(parents=True)
    shutil.copy(SERVICE, tmp_path / "opt/enrich-dist/bin")
    return tmp_path


def analyze(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", f"--root={root}", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong(root: Path, unit: Path) -> None:
    verified = analyze(root, "--man=no", "verify", INSTANCES.get(unit.name, unit.name))

    assert (verified.returncode, verified.stdout.strip()) == (0, "")


def test_systemd_sees_a_slip(root: Path) -> None:
    unit = root / "etc/systemd/system/enrich-dist-run.service"
    unit.write_text(unit.read_text("utf-8").replace("ProtectSystem=strict", "ProtectSystem=very"), "utf-8")

    assert "Failed to parse" in analyze(root, "--man=no", "verify", "enrich-dist-run.service").stdout


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name)
def test_every_service_is_hardened(root: Path, unit: Path) -> None:
    judged = analyze(
        root, "security", "--offline=yes", f"--threshold={_MOST_EXPOSURE}", INSTANCES.get(unit.name, unit.name)
    )

    assert judged.returncode == 0, judged.stdout
    assert re.search(r"^User=enrich-dist$", unit.read_text("utf-8"), re.MULTILINE)


def test_every_service_starts_a_role() -> None:
    cases = re.findall(r"^  ([a-z-]+(?: \| [a-z-]+)*)\)$", SERVICE.read_text("utf-8"), re.MULTILINE)
    roles = [role for case in cases for role in case.split(" | ")]
    units = "".join(unit.read_text("utf-8") for unit in UNITS)
    started = re.findall(r"^ExecStart=/opt/enrich-dist/bin/enrich-dist-service (\S+)", units, re.MULTILINE)

    assert set(started) == {"%i", "worker", "run"}
    assert set(roles) == {
        "scheduler",
        "worker",
        "code-location",
        "webserver",
        "daemon",
        "run",
        "preflight",
        "bench",
        "certificates",
    }
