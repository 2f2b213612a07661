"""The environment of a run: the machine as far as times depend on it, and the source code revision.

Contains no host name, address or path, as records are shared. Does not cover the load of the machine
(``session``) or the machines of remote workers.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from enrich_dist import __version__
from enrich_dist.core.files import file_digest, text_digest

_CPUINFO = Path("/proc/cpuinfo")
_PACKAGE = Path(__file__).resolve().parents[1]
_CODE = ("enrich_dist", "dagster_defs")
_GIT_TIMEOUT_SECONDS = 5.0
_SOURCES = frozenset({".py", ".txt", ".css", ".js", ".j2"})  # without compiled files


@dataclass(frozen=True)
class Machine:
    """The machine of a run's driver.

    ``cores``: logical cores that this process may use; ``memory_gb``: in 1,000,000,000 bytes, rounded, as kernels
    reserve a varying part; ``system``: such as ``Linux x86_64``; ``python``: major and minor version.
    """

    cpu_model: str
    cores: int
    memory_gb: int
    system: str
    python: str

    @property
    def digest(self) -> str:
        """Identifies machines of this kind (48 bits)."""
        return text_digest(self.cpu_model, str(self.cores), str(self.memory_gb), self.system, self.python)[:12]

    def line(self) -> str:
        """Return one line of text."""
        return (
            f"{self.cpu_model}, {self.cores} cores, {self.memory_gb} GB, {self.system}, Python {self.python} "
            f"({self.digest})"
        )


def this_machine() -> Machine:
    """Return the machine that this process runs on."""
    return Machine(
        cpu_model=_cpu_model(),
        cores=usable_cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9),
        system=f"{platform.system()} {platform.machine()}",
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
    )


def usable_cores() -> int:
    """Return the number of logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text("utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown"


@dataclass(frozen=True)
class Code:
    """The code of a run.

    ``version``: of the package; ``revision``: full hash of the commit, None where the package is not part of a git
    checkout; ``modified``: whether source files differed from that commit, None without a commit.
    """

    version: str
    revision: str | None
    modified: bool | None

    @property
    def label(self) -> str:
        """The first 10 digits of the revision, with ``+`` where the code was modified; else the version."""
        return self.version if self.revision is None else self.revision[:10] + ("+" if self.modified else "")


def this_code(package: Path = _PACKAGE) -> Code:
    """Return the code that this process runs."""
    # An installed package may be inside a checkout of another project (.venv), so its files must be tracked by git.
    tracked = _git(package, "ls-files", "--error-unmatch", "--", "__init__.py") is not None
    revision = _git(package, "rev-parse", "HEAD") if tracked else None
    if not revision:
        return Code(__version__, None, None)
    changes = _git(package.parent, "status", "--porcelain", "--untracked-files=no", "--", *_CODE)
    return Code(__version__, revision, None if changes is None else bool(changes))


def source_digest(package: Path = _PACKAGE) -> str:
    """Return the BLAKE3 digest of names and contents of the source files; the same wherever the code is installed."""
    parts: list[str] = []
    for root in (package.parent / name for name in _CODE):
        files = sorted(path for path in root.rglob("*") if path.suffix in _SOURCES and "__pycache__" not in path.parts)
        for path in files:
            parts += [path.relative_to(package.parent).as_posix(), file_digest(path)]
    return text_digest(*parts)


def _git(directory: Path, *arguments: str) -> str | None:
    """Return the output of git; None without git, outside a checkout, or after a timeout."""
    try:
        process = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=directory,
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()
