"""What a machine is, as far as times depend on it: a fingerprint by which runs on equal machines find each other.

Covers processor, cores, memory, system and Python. Holds no host name, address or path: records are shown around. Does
not cover what else went on on the machine (``yardstick``), nor the machines of remote workers.
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
    """As the processor names itself."""
    cores: int
    """Logical cores that this process may use."""
    memory_gb: int
    """Main memory in gigabytes (1,000,000,000 bytes), rounded: kernels keep a little, not always the same."""
    system: str
    """Kernel and processor family, without the version: ``Linux x86_64``."""
    python: str
    """Major and minor version."""

    @property
    def digest(self) -> str:
        """Name of all machines of this kind: 48 bits are enough to tell the few of an archive apart."""
        return text_digest(self.cpu_model, str(self.cores), str(self.memory_gb), self.system, self.python)[:12]

    def line(self) -> str:
        """One line of plain text."""
        return (
            f"{self.cpu_model}, {self.cores} cores, {self.memory_gb} GB, {self.system}, Python {self.python} "
            f"({self.digest})"
        )


def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(
        cpu_model=_cpu_model(),
        cores=usable_cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9),
        system=f"{platform.system()} {platform.machine()}",
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
    )


def usable_cores() -> int:
    """Logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text("utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown"
