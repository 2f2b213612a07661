"""A root file system for processes, as a container has: Debian's required packages and Python.

Consists of directories, bind mounts in a private mount namespace, and chroot; needs root. Libraries are those of this
system, so a program may find more of them than in a slim image. Does not cover limits of memory and CPU.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from scripts.rehearsal.errors import RehearsalError

_ETC: Final = (
    "passwd", "group", "shadow", "gshadow", "login.defs", "default/useradd", "nsswitch.conf", "resolv.conf", "hosts",
    "ssl", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "os-release", "debian_version", "localtime", "services",
    "protocols", "pam.d", "security",
)  # fmt: skip
_EMPTY: Final = ("tmp", "var/tmp", "run", "proc", "dev", "sys", "opt", "home", "root", "srv", "mnt", "data")
_SHARED: Final = ("lib", "lib32", "lib64", "libx32", "libexec", "share")
_PREFIX: Final = Path(sys.base_prefix)
_CHROOT: Final = "/usr/sbin/chroot"
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
# Environment variables of this machine that a build needs to reach the package index: proxy and certificates.
_BUILD_VARIABLES: Final = (
    "PIP_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT",
)


@dataclass(frozen=True)
class User:
    """A numeric user and group."""

    uid: int
    gid: int

    @classmethod
    def parse(cls, text: str) -> User:
        """Parse ``uid:gid``."""
        uid, _, gid = text.partition(":")
        if not (uid.isdigit() and gid.isdigit()):
            raise RehearsalError(f"user '{text}' is not uid:gid, which Kubernetes needs for runAsNonRoot")
        return cls(int(uid), int(gid))


ROOT: Final = User(0, 0)


@dataclass(frozen=True)
class Mount:
    """A directory or file of this machine, or a tmpfs without a source, at a path of the root."""

    source: Path | None
    target: str
    read_only: bool = False
    options: str = ""


@dataclass(frozen=True)
class Root:
    """A root file system. ``whole``: with all programs of this machine, not only the required ones."""

    path: Path
    whole: bool = False

    def inside(self, path: str) -> Path:
        """Return the path on this machine of a path in the root."""
        return self.path / path.lstrip("/")

    def command(
        self,
        arguments: Sequence[str],
        *,
        user: User,
        directory: str,
        mounts: Sequence[Mount] = (),
        read_only: bool = False,
        at: Path | None = None,
        privileged: bool = False,
    ) -> list[str]:
        """Return the command that runs ``arguments`` in the root as the user, without capabilities unless
        ``privileged``. ``at``: mount point, needed if several processes use the root at the same time.
        """
        at = at or self.path
        steps = [f"mount --bind {_q(self.path)} {_q(at)}"]
        for mount in mounts:
            self._make_place(mount)
        usr = at / "usr"
        if self.whole:
            steps.append(f"mount --rbind /usr {_q(usr)}")
        else:
            steps.append(f"mount --bind {_q(_programs())} {_q(usr)}")
            steps += [f"mount --rbind /usr/{name} {_q(usr / name)}" for name in _shared()]
        # The base image has Python in /usr/local.
        local = Path("/usr/local") if self.whole or Path("/usr") == _PREFIX else _PREFIX
        steps.append(f"mount --bind {_q(local)} {_q(usr / 'local')}; mount -o remount,bind,ro {_q(usr / 'local')}")
        if not _PREFIX.is_relative_to("/usr"):  # Python looks for its libraries in its own prefix
            steps.append(f"mount --bind {_q(_PREFIX)} {_q(at / str(_PREFIX).lstrip('/'))}")
        steps.append(f"mount -t proc proc {_q(at / 'proc')}")
        steps.append(f"mount --rbind /sys {_q(at / 'sys')}")
        steps.append(f"mount -t tmpfs -o mode=755 dev {_q(at / 'dev')}")
        for device in _DEVICES:
            steps.append(f"touch {_q(at / 'dev' / device)}; mount --bind /dev/{device} {_q(at / 'dev' / device)}")
        steps.append(f"mkdir -m 1777 {_q(at / 'dev/shm')}; ln -s /proc/self/fd {_q(at / 'dev/fd')}")
        if read_only:
            steps.append(f"mount -o remount,bind,ro {_q(at)}")
        for mount in mounts:
            place = at / mount.target.lstrip("/")
            if mount.source is None:
                steps.append(f"mount -t tmpfs {f'-o {_q(mount.options)} ' if mount.options else ''}tmpfs {_q(place)}")
                continue
            steps.append(f"mount --bind {_q(mount.source)} {_q(place)}")
            if mount.read_only:
                steps.append(f"mount -o remount,bind,ro {_q(place)}")
        as_user = [_CHROOT, str(at), "/usr/bin/env", "-C", directory, *as_user_command(user, privileged), *arguments]
        return ["/usr/bin/unshare", "--mount", "/bin/sh", "-euc", "; ".join(steps) + f"; exec {shlex.join(as_user)}"]

    def run(
        self,
        arguments: Sequence[str],
        *,
        user: User,
        environment: Mapping[str, str],
        directory: str,
        mounts: Sequence[Mount] = (),
        read_only: bool = False,
        building: bool = False,
        timeout_seconds: float = 900,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and return its result; stderr is part of stdout."""
        outside = {name: value for name, value in os.environ.items() if building and name.startswith(_BUILD_VARIABLES)}
        return subprocess.run(
            self.command(arguments, user=user, directory=directory, mounts=mounts, read_only=read_only,
                         privileged=building and user.uid == 0),
            env={**base_environment(), **outside, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout_seconds, check=False,
        )  # fmt: skip

    def _make_place(self, mount: Mount) -> None:
        """Create the mount point, as an engine does."""
        place = self.inside(mount.target)
        if place.exists():
            return
        if mount.source is not None and mount.source.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        else:
            place.mkdir(parents=True)


def base_environment() -> dict[str, str]:
    """Return the variables that an engine sets before those of the image."""
    return {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin", "HOME": "/root", "LANG": "C.UTF-8"}


def as_user_command(user: User, privileged: bool = False) -> list[str]:
    """Return a command prefix that drops all capabilities."""
    if privileged:
        return []
    return [
        "/usr/bin/setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--no-new-privs",
        "--bounding-set=-all", "--inh-caps=-all", "--",
    ]  # fmt: skip


def base_root(path: Path, *, whole: bool = False) -> Root:
    """Create a root file system in a new directory."""
    path.mkdir(parents=True)
    path.chmod(0o755)
    for name in (*_EMPTY, "usr", "etc"):
        (path / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (path / name).chmod(0o1777)
    for link in ("bin", "sbin", *(name for name in _shared() if name.startswith("lib") and name != "libexec")):
        (path / link).symlink_to(f"usr/{link}")
    (path / "var/run").symlink_to("/run")
    for name in _ETC:
        source, target = Path("/etc") / name, path / "etc" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        elif source.exists():
            shutil.copy2(source, target)
    if not _PREFIX.is_relative_to("/usr"):
        place = path / str(_PREFIX).lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for parent in place.relative_to(path).parents:  # the prefix may be in a private home directory
            (path / parent).chmod(0o755)
    return Root(path, whole)


_base_folder: Path | None = None


def keep_programs_in(folder: Path) -> None:
    """Set the directory to which the programs of all roots are copied once."""
    global _base_folder
    _base_folder = folder


@lru_cache(maxsize=1)
def _shared() -> tuple[str, ...]:
    return tuple(name for name in _SHARED if (Path("/usr") / name).is_dir())


@lru_cache(maxsize=1)
def _programs() -> Path:
    """A directory like /usr with only the programs of Debian's required packages."""
    assert _base_folder is not None, "call keep_programs_in first"
    usr = _base_folder
    for name in ("bin", "sbin", "local", *_shared()):
        (usr / name).mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${Priority} ${Essential}\n"], capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    required = [
        words[0] for words in map(str.split, listed.splitlines()) if words[1] == "required" or words[-1] == "yes"
    ]
    # dpkg lists some files with their old path, /bin instead of /usr/bin.
    files = subprocess.run(["dpkg", "--listfiles", *required], capture_output=True, text=True, check=True).stdout
    wanted = {Path(line).relative_to("/") for line in files.splitlines() if line.startswith("/")}
    for file in {file if file.parts[:1] == ("usr",) else Path("usr") / file for file in wanted}:
        if len(file.parts) == 3 and file.parts[1] in ("bin", "sbin"):
            _copy_program(Path("/") / file, usr / file.relative_to("usr"))
    for name in ("sh", "awk"):  # links that Debian creates after installation
        _copy_program(Path("/usr/bin") / name, usr / "bin" / name)
    if Path("/usr") == _PREFIX:
        for name in ("python", "python3", f"python{sys.version_info.major}.{sys.version_info.minor}"):
            _copy_program(Path(sys._base_executable), usr / "bin" / name)  # type: ignore[attr-defined]
    return usr


def _copy_program(source: Path, target: Path) -> None:
    if source.exists() and not source.is_dir() and not target.is_symlink():
        shutil.copy2(source.resolve(), target)


def _q(path: Path | str) -> str:
    return shlex.quote(str(path))
