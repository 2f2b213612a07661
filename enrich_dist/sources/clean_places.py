"""States and countries of many notations as codes: ``US-MA``, ``Massachusetts``, ``USA: UNITED STATES OF AMERICA``.

A state is a postal code of the US or Canada (``MA``, ``ON``), or an ISO 3166-2 code elsewhere (``AU-WA``), as its
letters alone can be those of a US state. A country is an ISO 3166-1 alpha-3 code. What is not understood is null with a
reason, so that it never counts against a match. Each distinct value is resolved once.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.sources.clean_fields import Cleaned
from enrich_dist.sources.clean_text import clean_text
from enrich_dist.sources.string_bytes import TEXT_NULL, apply_to_distinct

US_COUNTRIES: Final = ("USA", "PRI", "GUM", "VIR", "ASM", "MNP", "UMI", "FSM", "MHL", "PLW")
"""Countries with US states, territories and ZIP codes."""

# Names and traditional abbreviations of each code.
_US_STATES: Final = """
AL Alabama/Ala;AK Alaska;AZ Arizona/Ariz;AR Arkansas/Ark;CA California/Calif/Cal;CO Colorado/Colo;CT Connecticut/Conn;
DE Delaware/Del;FL Florida/Fla;GA Georgia;HI Hawaii;ID Idaho;IL Illinois/Ill;IN Indiana/Ind;IA Iowa;KS Kansas/Kans/Kan;
KY Kentucky;LA Louisiana;ME Maine;MD Maryland;MA Massachusetts/Mass;MI Michigan/Mich;MN Minnesota/Minn;
MS Mississippi/Miss;MO Missouri;MT Montana/Mont;NE Nebraska/Nebr/Neb;NV Nevada/Nev;NH New Hampshire;NJ New Jersey;
NM New Mexico/N Mex;NY New York;NC North Carolina/N Carolina/N Car;ND North Dakota/N Dakota/N Dak;OH Ohio;
OK Oklahoma/Okla;OR Oregon/Oreg/Ore;PA Pennsylvania/Penn/Penna;RI Rhode Island;SC South Carolina/S Carolina/S Car;
SD South Dakota/S Dakota/S Dak;TN Tennessee/Tenn;TX Texas/Tex;UT Utah;VT Vermont;VA Virginia;WA Washington/Wash;
WV West Virginia/W Virginia/W Va;WI Wisconsin/Wis/Wisc;WY Wyoming/Wyo;DC District of Columbia/Washington DC/Dist of Col;
PR Puerto Rico;GU Guam;VI Virgin Islands/US Virgin Islands/Virgin Islands US;AS American Samoa;
MP Northern Mariana Islands/Northern Marianas;UM US Minor Outlying Islands;FM Federated States of Micronesia/Micronesia;
MH Marshall Islands;PW Palau;AA Armed Forces Americas;AE Armed Forces Europe;AP Armed Forces Pacific
"""
_STATE_CODES: Final = {
    name.upper(): entry[:2]
    for entry in _US_STATES.replace("\n", "").split(";")
    for name in (entry[:2], *entry[3:].split("/"))
}
_US_NAMES: Final = ("USA", "US", "UNITED STATES", "UNITED STATES OF AMERICA")
# Common names that ISO 3166 does not have; XKX is the code that most sources use for Kosovo.
_COUNTRY_NAMES: Final = """
AUS AUSTRALIA;BRN BRUNEI;MMR BURMA;CPV CAPE VERDE;CIV IVORY COAST/COTE DIVOIRE;SWZ SWAZILAND;MKD MACEDONIA;
XKX KOSOVO/XKX/XKS/XK;PSE PALESTINE/GAZA/WEST BANK;RUS RUSSIA;TUR TURKEY;KOR KOREA SOUTH;PRK KOREA NORTH;
GBR UK/GREAT BRITAIN/ENGLAND/SCOTLAND/WALES/NORTHERN IRELAND;VAT VATICAN CITY;COD DRC;CHN PRC;ARE UAE;FSM MICRONESIA
"""
_PROVINCE_NAMES: Final = {"PQ": "QC", "NF": "NL", "NFLD": "NL", "NEWFOUNDLAND": "NL", "PEI": "PE"}
_CANADA: Final = "CAN"
_AROUND: Final = re.compile(r"^(?:STATE|COMMONWEALTH|TERRITORY|PROVINCE) OF | (?:STATE|PROVINCE)$")
_BETWEEN_PARTS: Final = re.compile(r"[:;,()/–—-]+")


def clean_country(values: pa.Array) -> Cleaned:
    """Return countries as ISO 3166-1 alpha-3 codes. ``NA`` is a word for null, not Namibia (``NAM``)."""
    given = apply_to_distinct(values, clean_text)
    return _cleaned(given, given, _country, "not a country")


def clean_state(values: pa.Array, countries: pa.Array | None = None) -> Cleaned:
    """Return states and provinces as codes. ``countries``: as ``clean_country`` returns them; null is the US."""
    given = apply_to_distinct(values, clean_text)
    if countries is None:
        return _cleaned(given, given, _state, "not a state or province")
    keys = pc.binary_join_element_wise(given, pc.fill_null(countries, ""), "\n")  # null where no state is given
    return _cleaned(given, keys, lambda key: _state(*key.split("\n")), "not a state or province")


def _cleaned(given: pa.Array, keys: pa.Array, resolve: Callable[[str], str | None], reason: str) -> Cleaned:
    def resolve_all(distinct: pa.Array) -> pa.Array:
        return pa.array([None if key is None else resolve(key) for key in distinct.to_pylist()], pa.string())

    values = apply_to_distinct(keys, resolve_all)
    return Cleaned(values, pc.if_else(pc.and_(pc.is_valid(given), pc.is_null(values)), reason, TEXT_NULL))


def _country(text: str) -> str | None:
    key = _plain(text)
    if key in _US_NAMES:
        return "USA"
    codes = _country_codes()
    return codes.get(key) or _only({codes.get(part) for part in _parts(text)})


def _state(text: str, country: str = "") -> str | None:
    key = _AROUND.sub("", _plain(text))
    codes: Mapping[str, str] = _STATE_CODES
    if country and country not in US_COUNTRIES:
        codes = _subdivisions(country)
    if key in codes:
        return codes[key]
    prefix, _, rest = key.partition(" ")  # ISO 3166-2 names the country, too: US-MA, CA-ON
    named = _country(prefix) if len(prefix) in (2, 3) and rest else None
    if named and (not country or named == country or {named, country} <= {*US_COUNTRIES}):
        own = _STATE_CODES if named in US_COUNTRIES else _subdivisions(named)
        if rest in own:
            return own[rest]
    return _only({codes.get(part) for part in _parts(text) if part not in _US_NAMES})


def _only(codes: set[str | None]) -> str | None:
    """Return the code that all parts of a text have: "MA - Massachusetts"."""
    return codes.pop() if len(codes) == 1 else None


def _parts(text: str) -> list[str]:
    return [part for part in map(_plain, _BETWEEN_PARTS.split(text)) if part]


def _plain(text: str) -> str:
    """Return the text in A-Z, 0-9 and single spaces, without accents and periods."""
    letters = unicodedata.normalize("NFKD", re.sub("[.'’]", "", text.upper()))
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.sub("[^A-Z0-9]+", " ", letters).strip().removeprefix("THE ")


@functools.cache
def _country_codes() -> Mapping[str, str]:
    """Return alpha-3 codes by code and name."""
    import pycountry

    codes = {
        _plain(name): entry[:3]
        for entry in _COUNTRY_NAMES.replace("\n", "").split(";")
        for name in entry[4:].split("/")
    }
    fields = ("alpha_3", "alpha_2", "numeric", "name", "official_name", "common_name")
    for country in (*pycountry.countries, *pycountry.historic_countries):
        for field in fields:
            if name := getattr(country, field, None):
                codes.setdefault(_plain(name), country.alpha_3)
    return codes


@functools.cache
def _subdivisions(country: str) -> Mapping[str, str]:
    """Return the codes of the subdivisions of a country (alpha-3) by code and name; those of the first rank win."""
    import pycountry

    entry = pycountry.countries.get(alpha_3=country)
    found = [item for item in pycountry.subdivisions if entry and item.country_code == entry.alpha_2]
    codes: dict[str, str] = dict(_PROVINCE_NAMES) if country == _CANADA else {}
    for item in sorted(found, key=lambda item: (item.parent_code is not None, item.code)):
        suffix = item.code.partition("-")[2]
        code = suffix if country == _CANADA else item.code
        for name in (suffix, item.name, *re.split(r"[\[\]/(),]", item.name)):
            if _plain(name):
                codes.setdefault(_plain(name), code)
    return codes
