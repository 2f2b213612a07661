"""Error rates of real records, which the generator plants, with their sources.

Counted in three real sets: the sample (SBIR.gov awards, and recipients with a UEI), 127 companies whose recipient was
judged by hand, and pairs of records with one identifier. Rates of the sample's own columns (place, street, ZIP code)
are not here: those are drawn as in the sample.
"""

from __future__ import annotations

from typing import Final

# --- recipients ---------------------------------------------------------------------------------------------------
# The sample is not representative of all recipients in these three, because most of its rows are only names. Assumed
# for the whole table, which has an address for most, and a UEI for those registered since 2022.
UEI_SHARE: Final = 0.60
DUNS_SHARE: Final = 0.50
PLACE_SHARE: Final = 0.90

# Of the sample's 11,177 recipients with a UEI, 1,364 share their normalised name with another: 366 of these in one
# town, the rest in up to 40 towns (49 rows have the most common name). 10,253 names are distinct: 0.917.
CHAIN_EVERY: Final = 16
"""One row in so many belongs to a name that occurs in many places. Fewer than in the sample, because among millions of
rows names are also equal by chance, and the share of distinct names must equal the sample's."""
CHAIN_NEW_SHARE: Final = 0.58
"""Share of these rows that start a name; the others take an earlier one, so that large chains grow faster. The sizes
follow a power law with exponent 2, as in the sample (323 twice, 61 three times, 21, 9, ... 49 times)."""
CHAIN_PARENT_SHARE: Final = 0.4
"""Share of chains that are one corporation with one parent; the others are franchises and common names."""
# 366 of 11,177 rows share name and town with another, so about half as many are second registrations.
SECOND_SHARES: Final = {"same_uei": 0.005, "same_parent": 0.008, "unrelated": 0.008}
NEIGHBOUR_SHARE: Final = 0.010
"""Another name with the same beginning in the same town, as OMNI MEASUREMENT SYSTEMS and OMNI MEDICAL SYSTEMS."""
SUBSIDIARY_SHARE: Final = 0.010
"""The same beginning in another place, with the parent's UEI."""
SHARED_ADDRESS_SHARE: Final = 0.05
"""Of 5,127 sample rows with a house number, 523 share their street address with a recipient of another name."""

# 282 of the 11,177 have alternate names: one (220), two (51), three (8) or four (3).
ALTERNATE_SHARE: Final = 0.025
ALTERNATE_COUNTS: Final = (220.0, 51.0, 8.0, 3.0)
# Of the 358 alternate names, 244 equal the name except for style, about 25 are variants, 20 its initials and 69 other
# names.
ALTERNATE_KINDS: Final = {"style": 244.0, "variant": 25.0, "initials": 20.0, "former": 69.0}

# --- companies ----------------------------------------------------------------------------------------------------
PARTNER_SHARE: Final = 0.70
"""Share of the companies with a recipient. Assumed; 45% of the sample's awards have one in a partial table."""
# Of 127 companies whose recipient was found by identifier or judged by hand, 103 have the recipient's name except for
# case, legal form and punctuation, 9 a variant, 15 another name (renamed, acquired, only initials).
SAME_NAME_SHARE: Final = 0.81
VARIANT_SHARE: Final = 0.07
RENAMED_SHARE: Final = 0.12
ALTERNATE_USED_SHARE: Final = 0.5
"""Share of the partners with alternate names whose company uses one. In the sample, 6 of 663 companies equal an
alternate name and not the name; as few recipients have an alternate name that differs in more than style."""
# 53 variant pairs judged by hand: companies and recipients of one town that differ after normalisation, and records of
# one DUNS or UEI; pairs of one entity count once. Nearly all cut names were cut at 30 characters, all typing errors
# were omitted letters, and the parent's name is before or after.
VARIANT_KINDS: Final = {
    "cut": 8.0,
    "word_added": 6.0,
    "word_dropped": 5.0,
    "parent_added": 8.0,
    "word_swapped": 5.0,
    "trade_name": 5.0,
    "typo": 4.0,
    "inflection": 2.0,
    "abbreviation": 3.0,
    "initials": 3.0,
    "joined": 3.0,
    "order": 1.0,
}
# 657 companies and recipients of equal normalised name: 439 differ only in case, 123 in punctuation, 4 in spaced
# initials, 91 in legal form, & or THE.
MARKS_SHARE: Final = 0.187
LEGAL_SHARE: Final = 0.139
SPACED_SHARE: Final = 0.006
UPPER_CASE_SHARE: Final = 0.39
"""Of the sample's 11,446 awards; the others have the company in title case."""

RENAME_RECORDED_SHARE: Final = 0.4
"""Share of the renamed partners whose earlier name is in an award download. Assumed: those with awards in its years;
3 of the 8 rows of a real download that were collected for differing names have another name, the others another
spelling."""
DOWNLOAD_SHARE: Final = 0.2
"""Share of the other recipients with a UEI that are in the download. Assumed; ``RENAMED_SHARE`` of them are renamed."""
SOLD_NAME_SHARE: Final = 0.05
"""Share of these renamed recipients that have the former name of another one: a name sold with a business. Assumed."""

# 644 companies and recipients with equal, unique names: 532 in one town, 87 in two towns of a state, 24 in two states.
# Of 127 in one town with both ZIP codes, 15 differ in it; of 112 in one ZIP code, 27 differ in the street.
OTHER_CITY_SHARE: Final = 0.135
OTHER_STATE_SHARE: Final = 0.037
NEAR_SHARE: Final = 0.5
"""Share of moves within a state that keep the first three digits of the ZIP code: 160 of 343 pairs."""
OTHER_ZIP_SHARE: Final = 0.12
OTHER_STREET_SHARE: Final = 0.24

# 1,507 DUNS numbers with several awards: 24% in several streets, 10% in several towns, 2.4% in several states, 1.4%
# under several normalised names; and of 1,612 names with several awards, 19% in several spellings.
AWARDS_OTHER_STREET_SHARE: Final = 0.14
AWARDS_OTHER_CITY_SHARE: Final = 0.080
AWARDS_OTHER_STATE_SHARE: Final = 0.024
AWARDS_OTHER_NAME_SHARE: Final = 0.014
AWARDS_OTHER_STYLE_SHARE: Final = 0.19

COMPANY_UEI_SHARE: Final = 0.35
COMPANY_DUNS_SHARE: Final = 0.35
"""Assumed, independent of each other and of every error; a partner only has an identifier that its recipient has."""

# Companies without a partner, assumed: one changed distinctive word in the same town, the street address of another
# recipient (incubators, registered agents), the name of a recipient in another state; the rest have new names.
_DECOYS: Final = {"near_name": 0.15, "same_street": 0.10, "same_name": 0.02}
# Of the sample's 4,217 companies, 638 have a namesake in one of their states among 11,177 recipients, and 22 only
# elsewhere. By hand, 17 of these 22 are the same firm and 5 are not: 5 of the 3,562 without a partner, 0.0014. In
# proportion to the recipients, the share is reached among 160,000; rounded up, because five are few.
SPREAD_RECIPIENTS: Final = 200_000


def decoys(recipients: int) -> dict[str, float]:
    """Return the shares of companies without a partner that resemble one of so many recipients, by kind."""
    return {**_DECOYS, "same_name": _DECOYS["same_name"] * min(1.0, recipients / SPREAD_RECIPIENTS)}
