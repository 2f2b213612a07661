"""What a failed attempt was: the failure policy's first half, as a function of what is known.

Covers telling apart what calls for different action (``driver`` takes it). Does not look anything up: the error, the
attempt's marker and the signs of memory trouble are given.
"""

from __future__ import annotations

import errno

from distributed import KilledWorker

from enrich_dist.errors import CorruptionError, IndexMismatchError
from enrich_dist.farm.attempts import FailureKind

_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def classify(error: BaseException | None, *, begun: bool, short_of_memory: bool) -> FailureKind:
    """The kind of a failure other than a hang.

    ``error``: what the task raised; None, or Dask's ``KilledWorker``, where its worker was lost. Of a lost worker:
    ``begun``, whether the attempt's marker was there; ``short_of_memory``, whether the nanny had ended it for its
    memory, or it was near its limit when it was last seen.
    """
    if error is None or isinstance(error, KilledWorker):
        if not begun:
            return FailureKind.NOT_STARTED
        return FailureKind.OUT_OF_MEMORY if short_of_memory else FailureKind.CRASH
    if isinstance(error, IndexMismatchError):
        return FailureKind.CONFIGURATION
    if isinstance(error, CorruptionError):
        return FailureKind.CORRUPTION
    if isinstance(error, MemoryError):
        return FailureKind.OUT_OF_MEMORY
    if isinstance(error, OSError):
        return FailureKind.ENVIRONMENT if error.errno in _NO_PLACE else FailureKind.CRASH
    return FailureKind.DATA
