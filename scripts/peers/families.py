"""Choose real names for the sets of company groups and of other countries, and write names as their countries do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pycountry

from scripts.peers.methods import plain_name
from scripts.peers.records import Record, letters

GROUP_WORDS: Final = frozenset(
    {"HOLDINGS", "HOLDING", "GROUP", "INTERNATIONAL", "GLOBAL", "USA", "US", "UK", "AMERICA", "AMERICAS", "EUROPE"}
    | {"EUROPA", "DEUTSCHLAND", "ITALIA", "NEDERLAND", "ESPANA", "BRASIL", "POLSKA", "SVERIGE", "NORGE", "SCHWEIZ"}
    | {word for country in pycountry.countries if " " not in (word := country.name.upper())}
)
"""Words by which the names of a group's companies differ."""
MAX_FAMILY: Final = 10
MAX_MEMBERS: Final = 2_000
OTHERS: Final = 4_000
MIN_LETTERS: Final = 4
_FORMS: Final = (
    "GMBH SPA SRL AG BV NV AB AS OY SA SARL LTDA LDA KK DOO SRO SAS KG TOV TOO OOO PLC APS CV EK PTY OYJ ASA KFT ZRT "
    "UG SNC EIRL SAC SIRKETI SL SLU EOOD OOD AD SIA UAB BHD PT"
)
FOREIGN_FORMS: Final = frozenset(_FORMS.split())
CYRILLIC_FORMS: Final = frozenset({"TOV", "TOO", "OOO"})
_CYRILLIC: Final = (
    ("SHCH", "Щ"), ("YA", "Я"), ("YU", "Ю"), ("ZH", "Ж"), ("KH", "Х"), ("TS", "Ц"), ("CH", "Ч"), ("SH", "Ш"),
    *zip("ABVGDEZIYKLMNOPRSTUFHCJQWX", "АБВГДЕЗИЙКЛМНОПРСТУФХКДКВК", strict=True),
)  # fmt: skip
_WRITTEN: Final = (
    "FÜR SOCIÉTÉ ŞİRKETİ MÜHENDİSLİK İNŞAAT SÃO GÉNÉRALE CONSTRUÇÕES CONSTRUÇÃO SERVIÇOS COMÉRCIO INDÚSTRIA INGENIERÍA "
    "CONSTRUCCIÓN CONSULTORÍA MÉXICO PERÚ ESPAÑA ESPAÑOLA COMPAÑÍA TÉCNICA TÉCNICO TELECOMUNICAÇÕES ELECTRÓNICA "
    "ELÉCTRICA ANÓNIMA EUROPÉENNE INGÉNIERIE MÜNCHEN GERÄTEBAU GEBÄUDE BÜRO LÖSUNGEN MÜLLER SÖHNE UNIVERSITÄT "
    "UNIVERSITÉ TÜRKİYE DIŞ SPÓŁKA ENERJİ İTHALAT İHRACAT SANAYİ ŞUBESİ GÜVENLİK TURİZM ÇELİK CONSERVAÇÃO EDUCACIÓN"
)
"""Frequent words of the names, as their languages write them."""
_PLAIN: Final = str.maketrans("ÜÉŞİÖÃÕÇÍÓÚÑÁÄÈŁ", "UESIOAOCIOUNAAEL")
_ACCENTS: Final = {word.translate(_PLAIN): word for word in _WRITTEN.split()} | {
    word.replace("Ü", "UE").replace("Ö", "OE").replace("Ä", "AE"): word for word in _WRITTEN.split()
}


def first_words(name: str, count: int) -> str:
    """Return the first words of the simple normal form."""
    return " ".join(plain_name(name).split()[:count])


def group_names(records: Sequence[Record], rng: np.random.Generator) -> tuple[list[Record], list[Record]]:
    """Return one record per legal entity of company groups, and others.

    A family has a first word in common that at most ``MAX_FAMILY`` entities have, and a name with a word such as
    HOLDINGS or a country.
    """
    entities: dict[str, Record] = {}
    for record in records:
        if len(record.name) != 30:  # names of this length may be truncated
            entities.setdefault(letters(record.name), record)
    found: dict[str, list[Record]] = defaultdict(list)
    for record in entities.values():
        found[first_words(record.name, 1)].append(record)
    families = [
        family
        for word, family in found.items()
        if len(word) >= MIN_LETTERS
        and 1 < len(family) <= MAX_FAMILY
        and any(GROUP_WORDS & set(plain_name(record.name).split()[1:]) for record in family)
    ]
    members: list[Record] = []
    for at in rng.permutation(len(families)):
        if len(members) < MAX_MEMBERS:
            members.extend(families[int(at)])
    return members, _others(list(entities.values()), members, rng)


def international_names(
    records: Sequence[Record], countries: pa.ChunkedArray, rng: np.random.Generator
) -> tuple[list[Record], list[Record]]:
    """Return one record per organisation outside the USA, by country or legal form, and others."""
    abroad: dict[str, Record] = {}
    others: dict[str, Record] = {}
    for record, country in zip(records, countries.to_pylist(), strict=True):
        words = record.name.upper().replace(".", "").replace(",", " ").replace("/", "").split()
        foreign = country not in (None, "USA", "NAN") or (country is None and bool({*words[1:][-1:]} & FOREIGN_FORMS))
        (abroad if foreign else others).setdefault(letters(record.name), record)
    members = list(abroad.values())
    rest = [record for key, record in others.items() if key not in abroad]
    return members, _others(rest, members, rng)


def _others(records: list[Record], members: list[Record], rng: np.random.Generator) -> list[Record]:
    known = {record.identity for record in members}
    rest = [record for record in records if record.identity not in known]
    return [rest[int(at)] for at in rng.permutation(len(rest))[:OTHERS]]


def foreign_spelling(record: Record, rng: np.random.Generator) -> Record:
    """Return the record with accents, or in Cyrillic if its legal form says so; half of the records stay."""
    if rng.random() < 0.5:
        return record
    words = record.name.upper().replace(",", " ").split()
    if CYRILLIC_FORMS & {*words}:
        name = " ".join(_in_cyrillic(word) for word in words)
    else:
        name = " ".join(_ACCENTS.get(word, word) for word in words)
    return Record(record.identity, name, record.address, record.city, record.state, record.zip)


def _in_cyrillic(word: str) -> str:
    for latin, letter in _CYRILLIC:
        word = word.replace(latin, letter)
    return word
