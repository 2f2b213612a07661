"""The machine of a run as far as times depend on it: processor, cores, memory, system and Python.

Contains no host name, address or path, as records are shared. Does not cover the load of the machine
(``calibration``) or the machines of remote workers.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from enrich_dist.core.files import text_digest

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """The machine of a run's driver."""

    cpu_model: str
    """As the processor reports it."""
    cores: int
    """Logical cores that this process may use."""
    memory_gb: int
    """Main memory in gigabytes (1,000,000,000 bytes), rounded, as kernels reserve a varying part."""
    system: str
    """Kernel and processor family, without the version: ``Linux x86_64``."""
    python: str
    """Major and minor version."""

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
