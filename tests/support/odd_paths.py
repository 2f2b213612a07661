"""Names of directories that have a meaning in SQL, addresses, patterns, shells or markup."""

from __future__ import annotations

from typing import Final

ODD_NAMES: Final = (
    "single'quote", 'double"quote', "hash#", "question?mark", "percent%41", "semi;colon", "am&persand", "{braces}",
    "[1]", "star*", "ümlaut 日本", " blanks  inside ", "2026-11-30", "No", "1e5", "null", "#UEI", "state=CA", "a..b",
    "$HOME", "file:x", "-dash", "[bold]", "a, b", "?mode=memory&uri=true",
)  # fmt: skip
ODD_NAME: Final = "o'd\"d #?%41;&{x}[1]*ü =s"
