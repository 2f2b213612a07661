"""A plain normal form of company names for the peers that bring none, as a user of theirs would write it in an hour.

Covers ASCII after accents are dropped, punctuation, the usual American legal forms at the end, a leading THE. Is on
purpose not the normal form of ``enrich_dist``: spelled-out initials, HTML entities and rarer forms are left alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

_LEGAL: Final = frozenset(
    {"INC", "INCORPORATED", "CORP", "CORPORATION", "CO", "COMPANY", "LLC", "PLLC", "LLP", "LP", "LTD", "LIMITED", "PC"}
)
_SPLIT: Final = re.compile(r"[^A-Z0-9]+")


def plain_name(name: str) -> str:
    """Upper case, letters and digits only, legal forms off the end; a name of nothing else keeps its words."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = re.sub(r"(?<=\b[A-Z])\.(?=[A-Z]\b)", "", ascii_only.upper().replace("&", " AND ").replace("'", ""))
    words = _SPLIT.sub(" ", text).split()
    kept = words[1:] if len(words) > 1 and words[0] == "THE" else words
    while kept and kept[-1] in _LEGAL:
        kept = kept[:-1]
    return " ".join(kept or words)


def plain_names(names: Sequence[str | None]) -> list[str]:
    """The normal form of each, empty where there is no name."""
    return [plain_name(name or "") for name in names]
