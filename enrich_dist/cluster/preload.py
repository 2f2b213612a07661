"""What the fork server imports before it forks workers: their packages, and the compiled kernels.

Importing this module is its whole effect. Does not open the index of a run.
"""

from __future__ import annotations

import gc
import logging
import signal

# First: Ctrl-C reaches all processes of a terminal, but only the driver handles it and ends its workers.
signal.signal(signal.SIGINT, signal.SIG_IGN)

import enrich_dist.farm.worker  # noqa: E402, F401
from enrich_dist.cluster.local import log_causes_only  # noqa: E402
from enrich_dist.matching.warm import warm_up  # noqa: E402

log_causes_only()
try:
    warm_up()
except Exception:  # the workers meet the same error, and report it to the driver
    logging.getLogger(__name__).warning("could not load the compiled kernels", exc_info=True)

# Permanent objects need no garbage collection; collecting them in a worker would copy shared pages.
gc.collect()
gc.freeze()
