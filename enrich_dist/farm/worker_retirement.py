"""Workers that get no more work: those that are being restarted, and those that are sent away.

Covers ending a worker without waiting for it. Does not decide whose turn it is (``stuck``, ``driver``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from distributed import Client

_RESTART_SECONDS = 60


class Dismissals:
    """The workers of one client that are about to end, or are not to be given work."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.ending: set[str] = set()
        """Addresses of those that are being ended."""
        self.unfit: set[str] = set()
        """Addresses of those that get no work."""

    def forget_gone(self, present: set[str]) -> None:
        """Keep in mind only workers that are there."""
        self.ending &= present
        self.unfit &= present

    def restart(self, address: str) -> None:
        """Have the worker's nanny start it again, without waiting for it."""
        self._end(address, self._restarted)

    def retire(self, address: str) -> None:
        """Send the worker away, without waiting for it."""
        self._end(address, self._client.retire_workers)

    def _restarted(self, addresses: list[str]) -> None:
        # A running task cannot be stopped, only its process can; and without a nanny (ValueError) not even that.
        self._client.restart_workers(addresses, timeout=_RESTART_SECONDS, raise_for_error=False)
        self.unfit.difference_update(addresses)

    def _end(self, address: str, how: Callable[[list[str]], Any]) -> None:
        self.ending.add(address)
        self.unfit.add(address)

        def end() -> None:
            # It is gone, or the scheduler is: that is seen elsewhere.
            with suppress(OSError, TimeoutError, KeyError, ValueError):
                how([address])

        threading.Thread(target=end, name=f"end-{address}", daemon=True).start()
