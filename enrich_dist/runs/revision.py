"""The source code revision: the git commit in a checkout, else the version of the package; and a source digest."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from enrich_dist import __version__
from enrich_dist.core.files import file_digest, text_digest

_PACKAGE = Path(__file__).resolve().parents[1]
_CODE = ("enrich_dist", "dagster_defs")
_GIT_TIMEOUT_SECONDS = 5.0
# Source files, without compiled files.
_SOURCES = frozenset({".py", ".txt", ".css", ".js", ".j2"})


@dataclass(frozen=True)
class Code:
    """The code of a run."""

    version: str
    """Version of the package."""
    revision: str | None
    """Full hash of the commit; None where the package is not part of a git checkout."""
    modified: bool | None
    """Whether source files differed from that commit; None without a commit."""

    @property
    def label(self) -> str:
        """The first 10 digits of the revision, with ``+`` where the code was modified; else the version."""
        return self.version if self.revision is None else self.revision[:10] + ("+" if self.modified else "")


def this_code(package: Path = _PACKAGE) -> Code:
    """Return the code that this process runs."""
    # An installed package may be inside a checkout of another project (.venv), so its files must be tracked by git.
    if _git(package, "ls-files", "--error-unmatch", "--", "__init__.py") is None:
        return Code(__version__, None, None)
    revision = _git(package, "rev-parse", "HEAD")
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
