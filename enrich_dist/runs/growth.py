"""Growth of a time or a memory over earlier runs: the plain change, and what of it the machine and noise explain.

Both sides are divided by the calibration workload where that makes the earlier runs more alike; otherwise the workload
says less about a run than noise. Does not cover which runs are comparable (``drift``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from enrich_dist.runs.noise import Noise, noise_of

_MENTIONED: Final = 0.01  # difference of the speed of the machine


class Severity(StrEnum):
    """Result of a comparison, the mildest first.

    Unknown: the run has no value, or there is no earlier run. Note: a limit is reached, but noise or the machine
    explains it.
    """

    UNKNOWN = "unknown"
    PASSED = "passed"
    NOTE = "note"
    WARN = "warn"
    ERROR = "error"

    @property
    def is_flagged(self) -> bool:
        """Whether the check fails: a warning or an error."""
        return self in (Severity.WARN, Severity.ERROR)

    @property
    def rank(self) -> int:
        """Position in the order, for comparisons."""
        return list(Severity).index(self)

    @property
    def lowered(self) -> Severity:
        """One step milder: that of a growth that is not distinguishable from noise."""
        return {Severity.ERROR: Severity.WARN, Severity.WARN: Severity.NOTE}.get(self, self)


def severity_of(worse_by: float, limits: tuple[float, float]) -> Severity:
    """Return the severity by the limits of a warning and an error, both inclusive."""
    warn_from, fail_from = limits
    if worse_by >= fail_from:
        return Severity.ERROR
    return Severity.WARN if worse_by >= warn_from else Severity.PASSED


@dataclass(frozen=True)
class Sample:
    """A value of a run, of which more is worse, and the calibration workload of that run, if it was measured."""

    value: float
    calibration: float | None


@dataclass(frozen=True)
class Growth:
    """Growth over the median of the reference; shares (0.1: 10%).

    ``plain``: of the value; ``adjusted``: of the value over the calibration workload, where that is used;
    ``visible``: smallest ``adjusted`` that is distinguishable from noise; ``machine``: growth of the calibration
    workload, 0 where it is not used.
    """

    plain: float
    adjusted: float
    visible: float
    machine: float = 0.0

    @property
    def is_distinguishable(self) -> bool:
        """Whether the growth is distinguishable from noise."""
        return self.adjusted >= self.visible

    def severity(self, limits: tuple[float, float]) -> Severity:
        """Return the severity: noise and machine lower it by one step, so that a large plain growth is a warning."""
        adjusted = severity_of(self.adjusted, limits)
        adjusted = adjusted if self.is_distinguishable else adjusted.lowered
        return max(adjusted, severity_of(self.plain, limits).lowered, key=lambda severity: severity.rank)

    def text(self) -> str:
        """Return what the machine and noise explain."""
        text = ""
        if abs(self.machine) >= _MENTIONED:
            way = "slower" if self.machine > 0 else "faster"
            text = f"the machine was {100 * abs(self.machine):.1f}% {way}, which leaves {100 * self.adjusted:+.1f}%; "
        can = "distinguishable" if self.is_distinguishable else "not distinguishable"
        return f"{text}{can} from noise (up to {100 * self.visible:.1f}%)"


def growth_over(now: Sample, reference: Sequence[Sample], recent: Sequence[Sample]) -> Growth:
    """Return the growth over the reference (at least one sample); ``recent``: further samples that show the noise."""
    plain, noise = _growth(now.value, [item.value for item in reference], [item.value for item in recent])
    units = [_over_calibration(samples) for samples in ([now], reference, recent)]
    if all(len(found) == len(of) for found, of in zip(units, ([now], reference, recent), strict=True)):
        adjusted, steadier = _growth(units[0][0], units[1], units[2])
        if steadier.scatter <= noise.scatter:
            return Growth(plain, adjusted, steadier.visible, (1 + plain) / (1 + adjusted) - 1)
    return Growth(plain, plain, noise.visible)


def _growth(now: float, reference: Sequence[float], recent: Sequence[float]) -> tuple[float, Noise]:
    noise = noise_of(recent if len(recent) > 1 else reference[:1], len(reference))
    return now / float(np.median(reference)) - 1, noise


def _over_calibration(samples: Sequence[Sample]) -> list[float]:
    return [item.value / item.calibration for item in samples if item.calibration]
