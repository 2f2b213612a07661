"""Write enrich_dist/matching/data/world_legal_forms.txt: the legal forms of the world in Latin letters.

    pip download --no-deps rigour==1.8.2 && python -m scripts.legal_forms rigour-1.8.2-py3-none-any.whl

The forms are the organisation types of rigour (MIT licence), which are based on ISO 20275 and on lists of OCCRP and
Wikipedia. 1.8.2 is the last version with them as data; later ones have them compiled. A form is left out if it may be
a part of a name: short ones (``legal_forms.txt`` lists the safe ones), and words that occur within names of the
sample.
"""

from __future__ import annotations

import ast
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.matching.normalise import clean
from enrich_dist.matching.words import lines

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "enrich_dist/matching/data/world_legal_forms.txt"
SAMPLE = ROOT / "data/sample/recipients.parquet"
MEMBER = "rigour/data/names/org_types.py"
# Classes of forms that are no words of names: companies and partnerships, not banks, cooperatives or ministries.
CLASSES = {"LLC", "JSC", "LP", "LLP", "GP", "SP"}
# Words of these classes with other meanings.
OTHER_MEANINGS = {"COMPANIA", "SAATIO", "AMBA", "PRIVATE ENTERPRISE", "PUBLIC SECTOR ENTERPRISE", "STATNI PODNIK"}
MIN_LETTERS = 4
MIN_SHARE_AT_END = 0.8
HEAD = """\
# Legal forms of the world in Latin letters, as legal_forms.txt. Written by scripts/legal_forms.py from the organisation
# types of rigour 1.8.2 (https://github.com/opensanctions/rigour), MIT licence, Copyright (c) 2023-2025 OpenSanctions
# Datenbanken GmbH.
"""


def main(wheel: str) -> None:
    """Write the forms that are safe to remove, in ascending order."""
    forms = {form for form in _forms(wheel) if _is_safe_length(form)} - OTHER_MEANINGS - set(lines("legal_forms.txt"))
    within = _within_names({form for form in forms if " " not in form})
    TARGET.write_text(HEAD + "\n".join(sorted(forms - within)) + "\n", "ascii")


def _forms(wheel: str) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        module = ast.parse(archive.read(MEMBER))
    types = ast.literal_eval(module.body[-1].value)  # type: ignore[attr-defined]
    texts = [
        text for kind in types if kind.get("generic") in CLASSES for text in (*kind["aliases"], kind.get("display", ""))
    ]
    for text, form in zip(texts, clean(pa.array(texts)).to_pylist(), strict=True):
        if form and all(ord(letter) < 0x250 or not letter.isalpha() for letter in text):
            yield form


def _is_safe_length(form: str) -> bool:
    words = form.split(" ")
    if len(words) == 1:
        return len(form) >= MIN_LETTERS
    return len(words) > 2 or max(map(len, words)) > 2


def _within_names(words: set[str]) -> set[str]:
    """Return the words that more than one in five names has elsewhere than at its end."""
    found, ends = Counter[str](), Counter[str]()
    for name in clean(pq.read_table(SAMPLE, columns=["legal_business_name"]).column(0)).to_pylist():
        *rest, last = (name or "").split(" ")
        ends.update([last] if last in words else [])
        found.update(word for word in rest if word in words)
    return {word for word in words if ends[word] < MIN_SHARE_AT_END * (found[word] + ends[word])}


if __name__ == "__main__":
    main(sys.argv[1])
