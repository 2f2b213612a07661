"""The exception that ends a rehearsal."""

from __future__ import annotations


class RehearsalError(Exception):
    """A step did not behave as the deployed files specify."""
