"""Entry points of the generator: recipients, awards that partly match them, an award download with former names, and
equal names in different places.

Covers, in the proportions of real data: rare and common words in names, equal and nearly equal names, chains, second
registrations, neighbours, and missing places and identifiers. The companies have the errors of real records: ``shares``
has the rates and their sources, ``errors`` the changes. The truth is planted, so precision and recall can be computed,
also for the companies that name and place identify (``truth``).

Does not cover meaning (a company's words are unrelated to its awards), growth over time, wrong identifiers, non-ASCII
names, errors in streets, and awards without a place. Coined names may be equal by chance, as real ones are.

The same seed and arguments give the same files, with the same versions of NumPy, PyArrow and DuckDB.
"""

from __future__ import annotations

from scripts.generator.awards import write_awards
from scripts.generator.common import write_common_names
from scripts.generator.downloads import write_award_download
from scripts.generator.recipients import RECIPIENTS, write_recipients
from scripts.generator.truth import TRUTH

__all__ = ["RECIPIENTS", "TRUTH", "write_award_download", "write_awards", "write_common_names", "write_recipients"]
