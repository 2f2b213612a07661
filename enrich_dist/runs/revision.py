"""Which code ran: the git revision where the package stands in a checkout, else its version; and a digest of its files.
Never a path."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from enrich_dist import __version__
from enrich_dist.core.files import file_digest, text_digest

_PACKAGE = Path(__file__).resolve().parents[1]
_CODE = ("enrich_dist", "dagster_defs")
_PATIENCE_SECONDS = 5.0
# What the packages are made of; compiled files beside them are not.
_SOURCES = frozenset({".py", ".txt", ".css", ".js", ".j2"})


@dataclass(frozen=True)
class Code:
    """The code of a run."""

    version: str
    """Of the package."""
    revision: str | None
    """Full hash of the commit; None where the package is not part of a git checkout."""
    modified: bool | None
    """Whether files of the code differed from that commit; None without one."""

    @property
    def label(self) -> str:
        """Short text: the first 10 digits of the revision, ``+`` where the code was modified; else the version."""
        return self.version if self.revision is None else self.revision[:10] + ("+" if self.modified else "")


def this_code(package: Path = _PACKAGE) -> Code:
    """The code that this process runs."""
    # An installed package may lie within a checkout of something else, as a .venv does: only a file git knows counts.
    if _git(package, "ls-files", "--error-unmatch", "--", "__init__.py") is None:
        return Code(__version__, None, None)
    revision = _git(package, "rev-parse", "HEAD")
    if not revision:
        return Code(__version__, None, None)
    changes = _git(package.parent, "status", "--porcelain", "--untracked-files=no", "--", *_CODE)
    return Code(__version__, revision, None if changes is None else bool(changes))


def source_digest(package: Path = _PACKAGE) -> str:
    """BLAKE3 over the files of the code, with their names: equal wherever the same code is installed, in a checkout or
    not, and another one where a single byte was changed."""
    parts: list[str] = []
    for root in (package.parent / name for name in _CODE):
        files = sorted(path for path in root.rglob("*") if path.suffix in _SOURCES and "__pycache__" not in path.parts)
        for path in files:
            parts += [path.relative_to(package.parent).as_posix(), file_digest(path)]
    return text_digest(*parts)


def _git(directory: Path, *arguments: str) -> str | None:
    """What git answers; None without git, outside a checkout, or when it takes too long."""
    try:
        process = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=directory,
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()
