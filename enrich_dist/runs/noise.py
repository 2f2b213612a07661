"""Noise of repeated measurements: from which change on is a new value distinguishable from earlier ones?

The predictive distribution of a new value given few earlier ones is a Student t distribution around their median, whose
scale combines their scatter with a prior (Gelman et al., "Bayesian Data Analysis", section 3.3: normal data with a
scaled inverse chi-square prior of the variance). The prior makes two runs comparable, and loses weight with each run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

PRIOR_SCATTER: Final = 0.03
"""Scatter of the logarithms before it is measured. An assumption, which the first comparable runs replace."""
_PRIOR_RUNS = 3.0  # weight of the prior, in runs; chosen on simulated normal scatter of 2 to 10%
FALSE_ALARM: Final = 0.002
"""Probability that an unchanged value is distinguishable; small, because several metrics are compared."""
_OUTLIER = 3.5  # modified z-score from which a value is left out (Iglewicz and Hoaglin 1993)
_NORMAL_MAD = 0.6744897501960817  # median absolute deviation of the standard normal distribution
_MEDIAN_VARIANCE = math.pi / 2  # of a median over that of a mean, for normal values


@dataclass(frozen=True)
class Noise:
    """Scatter of earlier values.

    ``scatter``: standard deviation of their logarithms; ``visible``: growth (0.08: 8%) of a new value over their median
    from which it is distinguishable, with the probability ``FALSE_ALARM`` of an error.
    """

    scatter: float
    visible: float


def noise_of(values: Sequence[float], references: int | None = None, *, prior_scatter: float = PRIOR_SCATTER) -> Noise:
    """Return the noise of positive values; at least one.

    ``references``: number of values in the median that a new value is compared with; None: all of ``values``.
    ``prior_scatter``: assumed before it is measured.
    """
    logarithms = np.log(values)
    centred = logarithms - np.median(logarithms)
    deviation = float(np.median(np.abs(centred))) / _NORMAL_MAD
    kept = logarithms[np.abs(centred) <= _OUTLIER * deviation] if deviation > 0 else logarithms
    freedom = len(kept) - 1
    variance = float(kept.var(ddof=1)) if freedom else 0.0
    total = _PRIOR_RUNS + freedom
    scatter = math.sqrt((_PRIOR_RUNS * prior_scatter**2 + freedom * variance) / total)
    count = references or len(kept)
    of_reference = (_MEDIAN_VARIANCE if count > 2 else 1.0) / count
    return Noise(scatter, math.expm1(float(stdtrit(total, 1 - FALSE_ALARM)) * scatter * math.sqrt(1 + of_reference)))
