"""Seeded inputs of any size with the truth: recipients, awards that partly match them, equal names to tell apart.

Covers what decides whether a matcher finds the right recipient among millions, in the proportions of real data: rare
and common words in names, names equal or nearly equal, chains, second registrations, neighbours, gaps in places and
identifiers; and on the companies' side the errors that pairs of real records show (``shares`` has the rates and where
they were counted, ``errors`` the changes). The truth is planted, so precision and recall can be read from it, also of
the companies that name and place can tell (``truth`` says how that is decided).

Does not cover: meaning (a company's words and its awards have nothing to do with each other), growth over time, wrong
identifiers, names outside ASCII, errors in streets, and awards without a place. Coined names may equal each other by
chance, as real ones do.

The same seed and arguments give the same files, with the same versions of NumPy, PyArrow and DuckDB.

The rooms: ``draws`` (random numbers out of keys), ``words`` and ``names`` (coined names), ``places``, ``errors``,
``shares``, ``recipients``, ``companies``, ``awards``, ``truth``, ``common``.
"""

from __future__ import annotations

from scripts.generator.awards import write_awards
from scripts.generator.common import write_common_names
from scripts.generator.recipients import RECIPIENTS, write_recipients
from scripts.generator.truth import TRUTH

__all__ = ["RECIPIENTS", "TRUTH", "write_awards", "write_common_names", "write_recipients"]
