"""How often real records differ, and how: every rate the generator plants, with where it was counted.

The counts are from three real sets: the sample (sbir.gov awards, and recipients with UEI), 127 companies whose
recipient was judged by hand, and pairs of records that bear one identifier. Rates of the sample's own columns (place,
street, ZIP code) are not here: they are drawn as the sample has them.
"""

from __future__ import annotations

from typing import Final

# --- recipients ---------------------------------------------------------------------------------------------------
# The sample is no random extract of all recipients in these three: most of its rows are names alone. Assumed as in
# the whole table, which has an address for most and a UEI for those registered since 2022.
UEI_SHARE: Final = 0.60
DUNS_SHARE: Final = 0.50
PLACE_SHARE: Final = 0.90

# Of the sample's 11,177 recipients with UEI, 1,364 share their normalised name with another: 366 of these in one
# town, the rest in up to 40 towns (49 rows bear the commonest name). 10,253 names are different: 0.917.
CHAIN_EVERY: Final = 16
"""One row in so many belongs to a name that can stand in many places. Fewer than in the sample, because among millions
chance makes equal names as well: the share of different names is to be the sample's there, not less."""
CHAIN_NEW_SHARE: Final = 0.58
"""Of these the share that begins a name; the others take that of one before them, so that large chains grow faster.
The sizes then fall with a power of about two, as in the sample (323 twice, 61 three times, 21, 9, ... 49 times)."""
CHAIN_PARENT_SHARE: Final = 0.4
"""Chains that are one corporation, whose rows name one parent; the others are franchises and common names."""
# One town, one name, two recipients: 366 rows of 11,177, so about half as many second registrations.
SECOND_SHARES: Final = {"same_uei": 0.005, "same_parent": 0.008, "unrelated": 0.008}
NEIGHBOUR_SHARE: Final = 0.010
"""Another name with the same beginning in the same town, as OMNI MEASUREMENT SYSTEMS and OMNI MEDICAL SYSTEMS."""
SUBSIDIARY_SHARE: Final = 0.010
"""The same beginning elsewhere, with the parent's UEI."""
SHARED_ADDRESS_SHARE: Final = 0.05
"""Of 5,127 sample rows with a house number, 523 share their street address with a recipient of another name."""

# 282 of the 11,177 have alternate names: one (220), two (51), three (8) or four (3).
ALTERNATE_SHARE: Final = 0.025
ALTERNATE_COUNTS: Final = (220.0, 51.0, 8.0, 3.0)
# Of the 358 alternate names 244 equal the name but for style, about 25 are variants of it, 20 its initials and 69
# other names.
ALTERNATE_KINDS: Final = {"style": 244.0, "variant": 25.0, "initials": 20.0, "former": 69.0}

# --- companies ----------------------------------------------------------------------------------------------------
PARTNER_SHARE: Final = 0.70
"""Share of the companies that have a recipient. Chosen: of the sample's awards 45% have one in a partial table."""
# Of 127 companies whose recipient was found by identifier or judged by hand, 103 bear the recipient's name up to case,
# legal form and punctuation, 9 a variant, 15 another name (renamed, bought, initials alone).
SAME_NAME_SHARE: Final = 0.81
VARIANT_SHARE: Final = 0.07
RENAMED_SHARE: Final = 0.12
ALTERNATE_BORNE_SHARE: Final = 0.5
"""Of the partners with alternate names those whose company bears one. In the sample 6 companies of 663 equal an
alternate name and not the name; the share of recipients with an alternate name that is no style is as small."""
# 53 variant pairs judged by hand: companies and recipients of one town that are not equal after normalisation, and
# records of one DUNS or UEI; pairs of one entity counted once. Cut names were nearly all cut at 30 characters, wrong
# letters were all left-out ones, and the parent's name stands on either side.
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
# 657 companies and recipients of equal normalised name: 439 equal but for case, 123 in punctuation, 4 in spaced
# initials, 91 in legal form, & or THE.
MARKS_SHARE: Final = 0.187
LEGAL_SHARE: Final = 0.139
SPACED_SHARE: Final = 0.006
UPPER_CASE_SHARE: Final = 0.39
"""Of the sample's 11,446 awards; the others write the company in upper and lower case."""

# 644 companies and recipients of equal, unique name: 532 in one town, 87 in two of one state, 24 in two states. Of 127
# in one town with both ZIP codes, 15 differ in it; of 112 in one ZIP code, 27 in the street.
OTHER_CITY_SHARE: Final = 0.135
OTHER_STATE_SHARE: Final = 0.037
NEAR_SHARE: Final = 0.5
"""Of moves within a state those within the first three digits of the ZIP code: 160 of 343 pairs of one identifier."""
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
"""Chosen, independent of each other and of every error; a partner can bear only what its recipient has."""

# Companies without a partner, chosen: one changed distinctive word in the same town, the street address of another
# recipient (incubators, registered agents), the very name of a recipient in another state; the rest are new names.
_DECOYS: Final = {"near_name": 0.15, "same_street": 0.10, "same_name": 0.02}
# Of the sample's 4,217 companies 638 find their name in a state of theirs among 11,177 recipients, and 22 elsewhere
# only. Read one by one, 17 of the 22 are the same firm and 5 namesakes: 5 of the 3,562 without a partner, 0.0014. Where
# that grows with the recipients it is the chosen share among 160,000. Rounded up, as five are few.
SPREAD_RECIPIENTS: Final = 200_000


def decoys(recipients: int) -> dict[str, float]:
    """Shares of the companies without a partner that resemble one of so many recipients, by how they do."""
    return {**_DECOYS, "same_name": _DECOYS["same_name"] * min(1.0, recipients / SPREAD_RECIPIENTS)}
