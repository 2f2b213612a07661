"""Execute a container file instruction by instruction, without a container engine.

Supports the instructions and options of the project's container file and rejects all others. ``NOT_COVERED`` lists the
instructions that are accepted and not executed, with reasons.
"""

from __future__ import annotations

import fcntl
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from scripts.rehearsal.errors import RehearsalError
from scripts.rehearsal.roots import ROOT, Mount, Root, User, base_root

NOT_COVERED: Mapping[str, str] = {
    "FROM": "the base is this system's required packages and its Python, not an image of a registry",
    "LABEL": "metadata without effect",
}


@dataclass(frozen=True)
class Instruction:
    """One instruction and its first line."""

    name: str
    text: str
    line: int


@dataclass(frozen=True)
class Image:
    """The state of a stage: a root file system, and how to start it."""

    root: Root
    environment: Mapping[str, str] = field(default_factory=dict)
    user: User = ROOT
    directory: str = "/"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"


def read_containerfile(path: Path) -> list[Instruction]:
    """Read the instructions; comments are removed and continued lines joined."""
    found: list[Instruction] = []
    parts: list[str] = []
    begin = 0
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        begin = begin if parts else number
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            name, _, text = " ".join(part.strip() for part in parts).partition(" ")
            found.append(Instruction(name.upper(), text.strip(), begin))
            parts = []
    if not found or found[0].name != "FROM":
        raise RehearsalError(f"{path} does not start with FROM")
    return found


@dataclass
class Build:
    """Executes a container file. ``context``: source directory of COPY. ``folder``: directory of the stages."""

    context: Path
    folder: Path
    cache: Path
    stages: dict[str, Image] = field(default_factory=dict)
    _inputs: Any = None  # digest of everything that went into the current stage

    def execute(self, instructions: list[Instruction]) -> Iterator[tuple[Instruction, str]]:
        """Execute the instructions and yield each with its result. The last stage is the image."""
        for instruction in instructions:
            method = getattr(self, f"_{instruction.name.lower()}", None)
            if method is None:
                raise RehearsalError(f"line {instruction.line}: {instruction.name} is not supported")
            try:
                result = method(instruction.text)
            except (RehearsalError, ValueError, OSError) as error:
                where = f"line {instruction.line}: {instruction.name} {instruction.text}"
                raise RehearsalError(f"{where}: {error}") from error
            yield instruction, result

    @property
    def image(self) -> Image:
        """The last stage."""
        return list(self.stages.values())[-1]

    def _set(self, **changes: object) -> None:
        name = list(self.stages)[-1]
        self.stages[name] = replace(self.stages[name], **changes)  # type: ignore[arg-type]

    def _from(self, text: str) -> str:
        words = text.split()
        if not re.search(r"(:[\w.-]*\d|@sha256:[0-9a-f]{64})", words[0]) or words[0].endswith(":latest"):
            raise RehearsalError(f"{words[0]} is not pinned to a version")
        name = words[2] if len(words) == 3 and words[1].upper() == "AS" else str(len(self.stages))
        self.stages[name] = Image(base_root(self.folder / name))
        self._inputs = sha256(f"{sys.version} {words[0]}".encode())
        return "a clean root"

    def _copy(self, text: str) -> str:
        words = text.split()
        options = [word for word in words if word.startswith("--")]
        *sources, target = [word for word in words if not word.startswith("--")]
        source_root = self.context
        for option in options:
            if not option.startswith("--from=") or option.removeprefix("--from=") not in self.stages:
                raise RehearsalError(f"{option} is not supported")
            source_root = self.stages[option.removeprefix("--from=")].root.path
        of_context = source_root == self.context
        destination = self.image.root.inside(target)
        for source in sources:
            found = source_root / source.lstrip("/")
            if of_context:
                self._add_input(target, found)
            if not found.exists():
                raise RehearsalError(f"{source} does not exist")
            if of_context and not self._is_included(source):
                raise RehearsalError(f".dockerignore excludes {source}")
            if found.is_dir():
                destination.mkdir(parents=True, exist_ok=True)
                options_of_cp = ["--recursive", "--no-dereference"] if of_context else ["--archive", "--link"]
                _checked("cp", *options_of_cp, f"{found}/.", str(destination))
                if of_context:
                    _remove_ignored(destination)
            else:
                into = destination / found.name if target.endswith("/") else destination
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, into)
        return f"copied to {target}"

    def _is_included(self, source: str) -> bool:
        """Whether .dockerignore includes a source; the last matching pattern decides."""
        is_included = True
        ignore = self.context / ".dockerignore"
        for line in ignore.read_text("utf-8").splitlines() if ignore.exists() else []:
            pattern = line.strip().removeprefix("!")
            if not pattern or pattern.startswith("#"):
                continue
            names = [source, *(str(parent) for parent in Path(source).parents if str(parent) != ".")]
            if any(fnmatch.fnmatch(name, pattern) for name in names):
                is_included = line.strip().startswith("!")
        return is_included

    def _run(self, text: str) -> str:
        mounts = []
        while text.startswith("--"):
            option, text = text.split(maxsplit=1)
            kind = dict(part.split("=", 1) for part in option.removeprefix("--mount=").split(","))
            if not option.startswith("--mount=") or kind.get("type") != "cache" or set(kind) != {"type", "target"}:
                raise RehearsalError(f"{option} is not supported")
            shared = self.cache / "mounts" / kind["target"].strip("/").replace("/", "-")
            shared.mkdir(parents=True, exist_ok=True)
            mounts.append(Mount(shared, kind["target"]))
        image = self.image
        self._inputs.update(f"RUN {text} {sorted(image.environment.items())}".encode())
        if not mounts:
            self._execute(text, mounts)
            return "executed"
        layer = self.cache / "layers" / str(self._inputs.hexdigest())
        layer.parent.mkdir(parents=True, exist_ok=True)
        with layer.with_suffix(".lock").open("w") as lock:
            # A second rehearsal waits and uses the layer of the first.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if layer.exists():  # as an engine caches layers
                shutil.rmtree(image.root.path)
                _checked("cp", "--archive", str(layer), str(image.root.path))
                return "cached"
            self._execute(text, mounts)
            _checked("cp", "--archive", str(image.root.path), f"{layer}.{os.getpid()}")
            Path(f"{layer}.{os.getpid()}").rename(layer)
        return "executed"

    def _execute(self, text: str, mounts: list[Mount]) -> None:
        image = self.image
        done = image.root.run(
            ["/bin/sh", "-c", text], user=image.user, environment=image.environment, directory=image.directory,
            mounts=mounts, building=True,
        )  # fmt: skip
        if done.returncode != 0:
            raise RehearsalError(f"exited with {done.returncode}:\n{done.stdout[-4000:]}")

    def _add_input(self, target: str, source: Path) -> None:
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if file.is_file() and "__pycache__" not in file.parts:
                self._inputs.update(f"{target} {file.relative_to(source.parent)} {file.stat().st_mode}".encode())
                self._inputs.update(file.read_bytes())

    def _env(self, text: str) -> str:
        values = dict(part.split("=", 1) for part in shlex.split(text))
        self._set(environment={**self.image.environment, **values})
        return ", ".join(values)

    def _label(self, _: str) -> str:
        return NOT_COVERED["LABEL"]

    def _workdir(self, text: str) -> str:
        self.image.root.inside(text).mkdir(parents=True, exist_ok=True)
        self._set(directory=text)
        return "exists"

    def _user(self, text: str) -> str:
        user = User.parse(text)
        known = self.image.root.inside("/etc/passwd").read_text("utf-8").splitlines()
        if not any(line.split(":")[2:4] == [str(user.uid), str(user.gid)] for line in known):
            raise RehearsalError("this user does not exist")
        self._set(user=user)
        return "not root" if user.uid else "root"

    def _stopsignal(self, text: str) -> str:
        self._set(stop_signal=text)
        return "stop signal"

    def _entrypoint(self, text: str) -> str:
        command = tuple(json.loads(text))
        self._find(command[0])
        self._set(entrypoint=command)
        return "exists"

    def _cmd(self, text: str) -> str:
        self._set(command=tuple(json.loads(text)))
        return "argument of the entrypoint"

    def _find(self, program: str) -> None:
        image = self.image
        done = image.root.run(["/bin/sh", "-c", f"command -v {shlex.quote(program)}"], user=image.user,
                              environment=image.environment, directory=image.directory)  # fmt: skip
        if done.returncode != 0:
            raise RehearsalError(f"{program} is not on PATH")


def _remove_ignored(folder: Path) -> None:
    for found in [*folder.rglob("__pycache__")]:
        shutil.rmtree(found)


def _checked(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RehearsalError(done.stderr.strip())
