"""What affects the candidates of a chunk: part of the key of its checkpoint.

Covers the settings of candidate generation and the engine's version. Does not cover decisions (``weights``,
``decisions``), which are taken on stored candidates and never touch a chunk.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from enrich_dist.core.files import document_digest
from enrich_dist.errors import SettingsError

# Raised whenever the same input would give other candidates or other comparison vectors: a change of rules, of a
# constant or of a file in data/.
ENGINE_VERSION = "4"


@dataclass(frozen=True)
class CandidateConfig:
    """Settings of candidate generation.

    ``min_name_overlap``: least weighted overlap (Dice) of a similar name in the same town, in (0, 1]; elsewhere more
    is asked (``blocking``). ``max_candidates_per_name``: similar names kept per recipient (equal names and identifiers
    are not counted). ``max_block_size``: companies that one block may bring to a recipient; larger ones are left out
    and counted. ``batch_rows``: recipients matched at a time; bounds memory and never changes a result.
    """

    min_name_overlap: float = 0.45
    max_candidates_per_name: int = 8
    max_block_size: int = 2_000
    batch_rows: int = 65_536

    def __post_init__(self) -> None:
        """Refuse what no run can mean."""
        if not 0 < self.min_name_overlap <= 1:
            raise SettingsError(
                f"min_name_overlap is {self.min_name_overlap}.", remedy="Choose a number above 0 and up to 1."
            )
        if not 1 <= self.max_candidates_per_name <= 1000:
            raise SettingsError(
                f"max_candidates_per_name is {self.max_candidates_per_name}.", remedy="Choose 1 to 1000."
            )
        if self.max_block_size < 1:
            raise SettingsError(f"max_block_size is {self.max_block_size}.", remedy="Choose at least 1.")
        if self.batch_rows < 1:
            raise SettingsError(f"batch_rows is {self.batch_rows}.", remedy="Choose at least 1.")

    def digest(self) -> str:
        """BLAKE3 of the settings that affect the result, hexadecimal: all but ``batch_rows``."""
        settings = asdict(self)
        del settings["batch_rows"]
        return document_digest(settings)
