"""Arrow schemas of the tables that packages exchange, and the levels of comparisons.

``source_row`` is the row number in a spreadsheet for CSV (the first record is row 2), and counts from 1 for Parquet.
Text columns contain cleaned text (HTML entities resolved, outer white space removed), and null, never ``""``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Self

import pyarrow as pa

# One row of the SBIR.gov bulk file. Additional columns of a source follow as text, under their snake_case name.
AWARD = pa.schema(
    [
        pa.field("award_id", pa.string(), nullable=False),  # digest of all cells: unique, as equal rows are rejected
        pa.field("source_row", pa.int64(), nullable=False),
        pa.field("company", pa.string()),
        pa.field("award_title", pa.string()),
        pa.field("agency", pa.string()),
        pa.field("branch", pa.string()),
        pa.field("phase", pa.string()),
        pa.field("program", pa.string()),
        pa.field("agency_tracking_number", pa.string()),
        pa.field("contract", pa.string()),
        pa.field("proposal_award_date", pa.date32()),
        pa.field("contract_end_date", pa.date32()),
        pa.field("solicitation_number", pa.string()),
        pa.field("solicitation_year", pa.int32()),
        pa.field("solicitation_close_date", pa.date32()),
        pa.field("proposal_receipt_date", pa.date32()),
        pa.field("date_of_notification", pa.date32()),
        pa.field("topic_code", pa.string()),
        pa.field("award_year", pa.int32()),
        pa.field("award_amount", pa.decimal128(18, 2)),  # US dollars
        pa.field("uei", pa.string()),  # 12 characters, upper case, valid in form, or null
        pa.field("duns", pa.string()),  # 9 digits or null
        pa.field("hubzone_owned", pa.string()),
        pa.field("socially_and_economically_disadvantaged", pa.string()),
        pa.field("woman_owned", pa.string()),
        pa.field("number_employees", pa.int32()),
        pa.field("company_website", pa.string()),
        pa.field("address1", pa.string()),
        pa.field("address2", pa.string()),
        pa.field("city", pa.string()),
        pa.field("state", pa.string()),
        pa.field("zip", pa.string()),
        pa.field("zip5", pa.string()),  # the five digits of zip, or null
    ]
)

# Which company an award belongs to; one row per row of AWARD.
AWARD_COMPANY = pa.schema(
    [pa.field("award_id", pa.string(), nullable=False), pa.field("company_id", pa.int32(), nullable=False)]
)

LOCATION = pa.struct([pa.field(name, pa.string()) for name in ("address", "city", "state", "zip5")])

# Awards joined by a shared identifier or by name and state. Lists hold distinct values in a fixed order.
COMPANY = pa.schema(
    [
        pa.field("company_id", pa.int32(), nullable=False),  # position in the order of company_key, from 0
        pa.field("company_key", pa.string(), nullable=False),  # uei:…, duns:…, name:…|state; independent of row order
        pa.field("name", pa.string()),  # the most frequent name on its awards
        pa.field("names", pa.list_(pa.string())),
        pa.field("ueis", pa.list_(pa.string())),
        pa.field("duns", pa.list_(pa.string())),
        pa.field("locations", pa.list_(LOCATION)),
        pa.field("award_count", pa.int32(), nullable=False),
    ]
)

# Identifiers that unlike organisations share; they neither join awards nor decide a match.
SHARED_IDENTIFIER = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),  # "uei" or "duns"
        pa.field("identifier", pa.string(), nullable=False),
        pa.field("side", pa.string(), nullable=False),  # "awards" or "recipients"; "left" of link
        pa.field("names", pa.list_(pa.string()), nullable=False),  # the holders, at most 40 of them
        pa.field("rows", pa.int64(), nullable=False),  # with the identifier and a name
    ]
)

# The names of organisations over time, from award downloads and other registers (``sources.name_history``).
NAME_HISTORY = pa.schema(
    [
        pa.field("uei", pa.string()),  # of the organisation; null only where it has only a DUNS number
        pa.field("duns", pa.string()),  # null where there is a UEI
        pa.field("name", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # "recipient", "dba" or "parent": whose name it is
        pa.field("first_seen", pa.date32()),  # earliest date of a record with the name; null where none has a date
        pa.field("last_seen", pa.date32()),
        pa.field("rows", pa.int64(), nullable=False),  # records with the name
    ]
)

# A name that a recipient has or had, and the dates of the records with it.
DATED_NAME = pa.struct(
    [
        pa.field("name", pa.string()),
        pa.field("kind", pa.int8()),  # NameKind
        pa.field("first_seen", pa.date32()),
        pa.field("last_seen", pa.date32()),
    ]
)

# One row of the recipients, with the columns of USAspending ``recipient_lookup``.
RECIPIENT = pa.schema(
    [
        pa.field("source_row", pa.int64(), nullable=False),
        pa.field("recipient_id", pa.string(), nullable=False),  # recipient_hash, else the UEI, else "row:N"
        pa.field("name", pa.string()),
        pa.field("alternate_names", pa.list_(pa.string())),
        pa.field("uei", pa.string()),
        pa.field("duns", pa.string()),
        pa.field("parent_uei", pa.string()),
        pa.field("parent_name", pa.string()),
        pa.field("address_line_1", pa.string()),
        pa.field("address_line_2", pa.string()),
        pa.field("city", pa.string()),
        pa.field("state", pa.string()),
        pa.field("zip5", pa.string()),
        pa.field("zip4", pa.string()),
        pa.field("country_code", pa.string()),
        pa.field("congressional_district", pa.string()),
        pa.field("name_history", pa.list_(DATED_NAME)),  # further names of inputs.name_history, null for none
    ]
)

# Rows and cells with problems: "rejected" rows count as invalid, "repaired" cells lost or changed a value.
REJECT = pa.schema(
    [
        pa.field("source_file", pa.string(), nullable=False),  # file name without directory
        pa.field("source_row", pa.int64(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),  # "rejected", "repaired" or "quarantined"
        pa.field("column", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("value", pa.string()),
    ]
)


class Level(IntEnum):
    """An outcome of a comparison: ``value`` is stored, ``label`` is shown to people."""

    label: str

    def __new__(cls, value: int, label: str = "") -> Self:
        """Create a member from its value and label."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.label = label
        return member

    @classmethod
    def labels(cls) -> tuple[str, ...]:
        """Return the labels in the order of the values."""
        return tuple(level.label for level in cls)


class Agreement(Level):
    """Outcome of comparing an identifier, state, city or ZIP code."""

    CONFLICT = -1, "conflict"
    UNKNOWN = 0, "missing on a side"
    AGREE = 1, "agree"


class NameLevel(Level):
    """Similarity of two names, from nothing in common to equal. A common word (SYSTEMS, HOLDINGS) is in many names."""

    NOTHING_IN_COMMON = 0, "nothing in common"
    DIFFERENT_WORDS = 1, "different words on both sides"
    ADDITIONAL_WORDS = 2, "additional words on one side"
    DIFFERENT_COMMON_WORDS = 3, "different common words on both sides"
    CONTAINED = 4, "one whole name within the other"
    ADDITIONAL_COMMON_WORDS = 5, "additional common words on one side"
    TYPO = 6, "a typing error"
    SPELLING_VARIANT = 7, "a different spacing, word order, abbreviation or truncation"
    EQUAL = 8, "equal"


class SiblingLevel(Level):
    """Words in which two names differ and that distinguish organisations of one family (Fund II and Fund III)."""

    NONE = 0, "no conflict"
    NUMBERS_DIFFER = 1, "numbers differ"
    NUMBER_MISSING = 2, "a number on one side only"
    OPPOSITES = 3, "directions, opposites or letters differ"
    VENTURES = 4, "a joint venture on one side only, or of other partners"
    HOLDINGS = 5, "a holding on one side only"
    CHAPTERS = 6, "chapters of different places"


class PlaceLevel(Level):
    """Comparison of two places. It is one comparison, because city, ZIP code and state depend on each other."""

    UNKNOWN = 0, "unknown"
    DIFFERENT_STATE = 1, "different state"
    DIFFERENT_CITY = 2, "same state, different city"
    SAME_STATE = 3, "same state, city unknown"
    SAME_CITY_DIFFERENT_ZIP = 4, "same city, different ZIP code"
    SAME_CITY = 5, "same city, ZIP code unknown"
    SAME_ZIP = 6, "same ZIP code, different city"
    SAME_CITY_AND_ZIP = 7, "same city and ZIP code"


# The lowest level of two places in one state, and of two in one town: city or ZIP code agree.
MIN_SAME_STATE, MIN_SAME_TOWN = PlaceLevel.DIFFERENT_CITY, PlaceLevel.SAME_CITY_DIFFERENT_ZIP


class StreetLevel(Level):
    """Similarity of two streets."""

    UNKNOWN = 0, "unknown"
    DIFFERENT = 1, "different street"
    SIMILAR = 2, "similar street"
    SAME = 3, "same street"


class AddressLevel(Level):
    """Whether two addresses are one: street, house number and suite, in one ZIP code."""

    DIFFERENT = 0, "different or unknown"
    SAME_STREET = 1, "same house number, suite missing on a side"
    SAME = 2, "same house number and suite"


class NameKind(Level):
    """The name of the recipient that agrees best with a name of the company."""

    LEGAL = 0, "legal"
    ALTERNATE = 1, "alternate"
    FORMER = 2, "former"
    PARENT = 3, "parent"


# The comparison vector of a candidate pair. Columns ``*_agreement`` of int8 hold an ``Agreement``. Shares are in
# [0, 1], rounded to three decimals.
COMPARISON = pa.schema(
    [
        pa.field("uei_agreement", pa.int8(), nullable=False),
        pa.field("duns_agreement", pa.int8(), nullable=False),
        pa.field("name_level", pa.int8(), nullable=False),  # NameLevel
        pa.field("name_agreement", pa.float32(), nullable=False),  # weighted share of the company's name that agrees
        pa.field("name_similarity", pa.float32(), nullable=False),  # weighted overlap (Dice) of both names
        pa.field("name_kind", pa.int8(), nullable=False),  # NameKind
        pa.field("sibling_level", pa.int8(), nullable=False),  # SiblingLevel
        pa.field("name_code", pa.int32(), nullable=False),  # the company's name in the index, -1 for none
        pa.field("state_agreement", pa.int8(), nullable=False),
        pa.field("city_agreement", pa.int8(), nullable=False),  # city within its state
        pa.field("zip_agreement", pa.int8(), nullable=False),
        pa.field("place_level", pa.int8(), nullable=False),  # PlaceLevel
        pa.field("street_level", pa.int8(), nullable=False),  # StreetLevel
        pa.field("address_level", pa.int8(), nullable=False),  # AddressLevel
        pa.field("address_companies", pa.int16(), nullable=False),  # companies at this house number; 0 if DIFFERENT
    ]
)

# Counts of a chunk for the match weights. The counts of a run are the sums over its chunks.
COUNT = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),  # one of COUNT_KINDS
        pa.field("key", pa.int32(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)

COUNT_KINDS = (
    "recipients",  # all of the chunk; key 0
    "placeless",  # recipients without state, city and ZIP code; key 0
    "concept",  # recipients whose legal name has the word and is no company's name; key: concept in the index
    "random_place",  # pairs of a recipient and a random company; key: place level
    "blocks_left_out",  # lookups of skipped blocks, larger than max_block_size; key 0
    "pairs_left_out",  # candidate pairs in skipped blocks; key 0
    "addresses_left_out",  # recipients at a house number of too many companies; key 0
)

# Hashes of a recipient's texts (``matching.keys``), by which the reduce scores without reading any text; 0 for none.
RECIPIENT_KEY = pa.schema(
    [
        pa.field("id_start", pa.uint64(), nullable=False),  # the first 8 bytes of recipient_id, as a number
        pa.field("id_middle", pa.uint64(), nullable=False),  # the next 8 bytes
        pa.field("id_key", pa.int64(), nullable=False),
        pa.field("uei_key", pa.int64(), nullable=False),
        pa.field("duns_key", pa.int64(), nullable=False),
        pa.field("name_key", pa.int64(), nullable=False),  # normalised legal name without spaces
        pa.field("raw_name_key", pa.int64(), nullable=False),  # name as it is written
        pa.field("state_key", pa.int64(), nullable=False),
        pa.field("town_key", pa.int64(), nullable=False),  # state and normalised city
        pa.field("zip_key", pa.int64(), nullable=False),
        pa.field("street_key", pa.int64(), nullable=False),  # normalised first address line without the suite
        pa.field("street_name_key", pa.int64(), nullable=False),  # also without the house number; 0 for a PO box
        pa.field("is_placeless", pa.bool_(), nullable=False),  # without state, city and ZIP code
        pa.field("documentation", pa.int8(), nullable=False),  # how well it is documented: UEI, DUNS, address
    ]
)

# A candidate pair: one row per (company_id, source_row), with all columns of the recipient that the reduce needs.
CANDIDATE = pa.schema(
    [
        pa.field("company_id", pa.int32(), nullable=False),
        *COMPARISON,
        *RECIPIENT_KEY,
        *(field for field in RECIPIENT if field.name != "alternate_names"),
    ]
)

# Human review decisions on pairs, which later runs apply.
OVERRIDE = pa.schema(
    [
        pa.field("company_key", pa.string(), nullable=False),
        pa.field("recipient_id", pa.string(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),  # "confirm" or "reject"
    ]
)

# One recipient, as published with an award or a company: the best documented row of its organisation.
MATCHED_RECIPIENT = pa.schema(
    [
        pa.field(f"recipient_{field.name.removeprefix('recipient_')}", field.type)
        for field in RECIPIENT
        if field.name not in {"source_row", "alternate_names", "name_history"}
    ]
    + [
        pa.field("recipient_cluster_id", pa.string()),  # uei:…, else duns:…, else recipient:…; of all its members
        pa.field("recipient_cluster_members", pa.list_(pa.string())),  # all recipient_ids of this organisation
    ]
)

# Published columns of every valid award after its own columns (AWARD) and additional columns of the source. An award
# column with one of these names is published as award_NAME.
AWARD_MATCH = pa.schema(
    [
        pa.field("company_key", pa.string()),  # of the company that the award belongs to: COMPANY, COMPANY_MATCH
        pa.field("match_status", pa.string()),  # "matched", "review" or "unmatched"
        pa.field("match_method", pa.string()),  # method of the best candidate; null if unmatched
        pa.field("match_probability", pa.float64()),  # that this recipient is the match, 0 to 1; null if unmatched
        pa.field("match_weight", pa.float64()),  # sum of the weights of all comparisons, in bits; null if unmatched
        *MATCHED_RECIPIENT,  # null unless match_status is "matched"
    ]
)

# Published columns of every company: its best candidate with the evidence, accepted or not. The evidence is
# that of the row of the organisation that is most like the company.
COMPANY_MATCH = pa.schema(
    [
        pa.field("company_id", pa.int32()),
        pa.field("company_key", pa.string()),
        pa.field("company_name", pa.string()),
        pa.field("award_count", pa.int32()),
        pa.field("match_status", pa.string()),
        pa.field("match_method", pa.string()),  # method of the best candidate; null if there is none
        pa.field("match_probability", pa.float64()),  # that the best candidate is the match, 0 to 1
        pa.field("match_weight", pa.float64()),  # sum of the weights below, in bits
        pa.field("runner_up_probability", pa.float64()),  # of the best candidate of another organisation; 0 for none
        pa.field("partner_probability", pa.float64()),  # that any candidate is the match, 0 to 1
        *(pa.field(field.name, field.type) for field in COMPARISON),
        pa.field("name_weight", pa.float64()),  # bits
        pa.field("sibling_weight", pa.float64()),  # bits
        pa.field("place_weight", pa.float64()),  # bits
        pa.field("street_weight", pa.float64()),  # bits
        pa.field("uei_weight", pa.float64()),  # bits
        pa.field("duns_weight", pa.float64()),  # bits
        pa.field("recipient_source_row", pa.int64()),
        *MATCHED_RECIPIENT,
        pa.field("recipient_former_names", pa.string()),  # with dates; null unless name_kind is former
    ]
)
