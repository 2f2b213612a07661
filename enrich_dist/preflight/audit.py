"""What pip-audit knows of the packages that are installed here.

Asked for by its command, where it is installed; nothing here depends on it. It takes a package that its database does
not answer for as one to be skipped, and ends well: so where it has skipped every one, the database was not reached, and
that it found nothing says nothing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

_OURS: Final = "enrich_dist"
_ANSWER_SECONDS: Final = 10
_PATIENCE_SECONDS: Final = 180.0
_UNREACHABLE: Final = "The vulnerability database cannot be reached"
_REACH: Final = "Let this machine reach the database, or name a mirror of it in readiness.osv_url."


@dataclass(frozen=True)
class Audit:
    """``packages`` are installed, ``audited`` are known to the database. ``problem``: why nothing is known."""

    packages: int
    audited: int
    vulnerabilities: tuple[str, ...]
    """Each with package, version, id, and the versions that mend it."""
    problem: str | None = None
    remedy: str | None = None


def audit(scratch: Path, *, osv_url: str | None) -> Audit:
    """Have all packages of this environment looked up, but our own; ``osv_url``: as in ``readiness.osv_url``."""
    installed = _installed()
    program = _program()
    if program is None:
        return Audit(
            len(installed),
            0,
            (),
            "pip-audit is not installed, so nothing is known.",
            "Install it: pip install pip-audit",
        )
    requirements = scratch / "installed.txt"
    requirements.write_text("".join(f"{name}=={version}\n" for name, version in installed.items()), "utf-8")
    command = [program, "--requirement", str(requirements), "--no-deps", "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", str(_ANSWER_SECONDS), "--cache-dir", str(scratch / "cache")]
    command += [] if osv_url is None else ["--vulnerability-service", "osv", "--osv-url", osv_url]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
        answers: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return Audit(len(installed), 0, (), f"{_UNREACHABLE} within {_PATIENCE_SECONDS:.0f} s.", _REACH)
    except (ValueError, KeyError, TypeError):
        return Audit(len(installed), 0, (), f"{_UNREACHABLE} (pip-audit ended with {ended.returncode}).", _REACH)
    audited = [answer for answer in answers if "skip_reason" not in answer]
    if not audited:
        return Audit(len(installed), 0, (), f"{_UNREACHABLE}: it answered for none of the packages.", _REACH)
    return Audit(len(installed), len(audited), tuple(_vulnerabilities(audited)))


def _vulnerabilities(audited: list[dict[str, Any]]) -> Iterator[str]:
    for answer in audited:
        for found in answer["vulns"]:
            mended = ", ".join(found["fix_versions"])
            yield f"{answer['name']} {answer['version']}: {found['id']}" + (f", mended in {mended}" if mended else "")


def _installed() -> dict[str, str]:
    """Version by name."""
    found = {str(item.metadata["Name"]).lower().replace("_", "-"): item.version for item in metadata.distributions()}
    return {name: found[name] for name in sorted(found) if name != _OURS.replace("_", "-")}


def _program() -> str | None:
    beside = Path(sys.executable).with_name("pip-audit")
    return str(beside) if beside.exists() else shutil.which("pip-audit")
