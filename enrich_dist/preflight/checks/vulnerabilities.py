"""Whether installed packages have known vulnerabilities, by pip-audit where it is installed.

pip-audit skips packages that its database does not answer for, and still succeeds. If it skipped all packages, the
database was not reached, and finding nothing means nothing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.owned_files import write_new
from enrich_dist.preflight.context import Fact, Outcome, PreflightContext, failed, passed, unknown, warning

_TIMEOUT_SECONDS: Final = 180.0


class _UnreachableError(Exception):
    """The vulnerability database did not answer; the argument says how."""


def vulnerabilities(context: PreflightContext) -> Outcome:
    """Audit all packages of this environment except ``enrich_dist``."""
    installed = _installed()
    facts: dict[str, Fact] = {"packages": len(installed), "audited": 0, "vulnerabilities": 0}
    in_environment = Path(sys.executable).with_name("pip-audit")
    program = str(in_environment) if in_environment.exists() else shutil.which("pip-audit")
    if program is None:
        return unknown("pip-audit is not installed.", facts, remedy="Install it: pip install pip-audit")
    try:
        audited = _audit(program, installed, context.scratch("audit-"), context.settings.readiness.osv_url)
    except _UnreachableError as error:
        return unknown(
            f"The vulnerability database cannot be reached: {error}.",
            facts,
            remedy="Give this machine access to the database, or set readiness.osv_url to a mirror.",
        )
    found = [
        f"{package['name']} {package['version']}: {item['id']}"
        + (f", fixed in {', '.join(item['fix_versions'])}" if item["fix_versions"] else "")
        for package in audited
        for item in package["vulns"]
    ]
    facts |= {"audited": len(audited), "vulnerabilities": len(found)}
    missing = len(installed) - len(audited)
    rest = f" The database does not know {missing:,} of {len(installed):,} packages." if missing else ""
    if found:
        return failed(f"{len(found)} known: {'; '.join(found)}.{rest}", facts)
    summary = f"No vulnerability is known in {len(audited):,} packages.{rest}"
    if missing:
        return warning(summary, facts, remedy="Check these packages at their origin.")
    return passed(summary, facts)


def _audit(program: str, installed: dict[str, str], scratch: Path, osv_url: str | None) -> list[dict[str, Any]]:
    """Return pip-audit's answers for the packages that the database knows."""
    requirements = scratch / "installed.txt"
    write_new(requirements, "".join(f"{name}=={version}\n" for name, version in installed.items()).encode("utf-8"))
    command = [program, "--requirement", str(requirements), "--no-deps", "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", "10", "--cache-dir", str(scratch / "cache")]
    command += [] if osv_url is None else ["--vulnerability-service", "osv", "--osv-url", osv_url]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
        answers = json.loads(ended.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        raise _UnreachableError(f"no answer within {_TIMEOUT_SECONDS:.0f} s") from None
    except (ValueError, KeyError, TypeError):
        raise _UnreachableError(f"pip-audit ended with exit code {ended.returncode}") from None
    audited = [answer for answer in answers if "skip_reason" not in answer]
    if not audited:
        raise _UnreachableError("it answered for none of the packages")
    return audited


def _installed() -> dict[str, str]:
    """Return the version of each package by name."""
    found = {str(item.metadata["Name"]).lower().replace("_", "-"): item.version for item in metadata.distributions()}
    return {name: found[name] for name in sorted(found) if name != "enrich-dist"}
