"""What affects the candidates of a chunk: part of the key of its checkpoint.

Covers the settings of candidate generation and the engine's version. Does not cover decisions (``scoring``),
which are taken on stored candidates and never touch a chunk.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from enrich_dist.errors import SettingsError
from enrich_dist.files import document_digest

# Raised whenever the same input would give other candidates or other comparison vectors: a change of rules, of a
# constant or of a file in data/.
ENGINE_VERSION = "1"


@dataclass(frozen=True)
class CandidateConfig:
    """Settings of candidate generation.

    ``min_name_cosine``: least 3-gram TF-IDF cosine of a fuzzy pair of names, in (0, 1].
    ``max_candidates_per_name``: fuzzy companies kept per recipient (equal names and identifiers are not counted).
    ``batch_rows``: recipients matched at a time; bounds memory and never changes a result.
    """

    min_name_cosine: float = 0.60
    max_candidates_per_name: int = 5
    batch_rows: int = 16_384

    def __post_init__(self) -> None:
        """Refuse what no run can mean."""
        if not 0 < self.min_name_cosine <= 1:
            raise SettingsError(
                f"min_name_cosine is {self.min_name_cosine}.", remedy="Choose a number above 0 and up to 1."
            )
        if not 1 <= self.max_candidates_per_name <= 1000:
            raise SettingsError(
                f"max_candidates_per_name is {self.max_candidates_per_name}.", remedy="Choose 1 to 1000."
            )
        if self.batch_rows < 1:
            raise SettingsError(f"batch_rows is {self.batch_rows}.", remedy="Choose at least 1.")

    def digest(self) -> str:
        """SHA-256 of the settings that affect the result, hexadecimal: all but ``batch_rows``."""
        settings = asdict(self)
        del settings["batch_rows"]
        return document_digest(settings)
