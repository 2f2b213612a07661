"""What ends a rehearsal."""

from __future__ import annotations


class RehearsalError(Exception):
    """A step of the rehearsal did not do what the deployed files say."""
