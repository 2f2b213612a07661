"""What the fork server imports before it forks any worker: all that a worker needs, kernels loaded.

Importing this module is its whole effect. Does not open a run's index.
"""

from __future__ import annotations

import gc
import logging
import signal

# Before anything takes time. Ctrl-C reaches all processes of a terminal; the driver handles it, and ends its workers.
signal.signal(signal.SIGINT, signal.SIG_IGN)

import distributed.nanny  # noqa: E402
import distributed.worker  # noqa: E402, F401

import enrich_dist.farm.worker  # noqa: E402, F401
from enrich_dist.matching.warm import warm_up  # noqa: E402

try:
    warm_up()
except Exception:  # whatever it is, the workers meet it themselves and can tell the driver
    logging.getLogger(__name__).warning("the kernels could not be loaded ahead", exc_info=True)

# What is never freed need not be looked at by each worker's collector, which would copy the shared pages.
gc.collect()
gc.freeze()
