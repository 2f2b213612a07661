"""SQL of the match weights: the weight of each comparison of a candidate pair, from a row of weights.

Constants are read from ``matching.weights`` when the SQL is built. Does not cover their estimation (``estimation``).
"""

from __future__ import annotations

from typing import Any

from enrich_dist.matching import weights as model
from enrich_dist.schema import MIN_SAME_TOWN, Agreement, NameLevel, SiblingLevel, StreetLevel

# Where recipients without a place are partners half as often as others, a similar name alone decides nothing.
_RARE_PLACELESS_BITS = -1.0
_IS_PARTIAL = f"name_level < {NameLevel.SPELLING_VARIANT}"
_IN_TOWN = f"place_level >= {MIN_SAME_TOWN}"
EQUAL_NAME_IN_TOWN_SQL = f"name_level >= {NameLevel.SPELLING_VARIANT} AND {_IN_TOWN}"
"""SQL expression (BOOLEAN): whether a candidate has the company's name in the same town."""


def limit_sql() -> dict[str, str]:
    """Return SQL expressions of what limits a pair, which ``weight_sql`` and ``unseen_share_sql`` use as columns.

    They use the columns of ``schema.COMPARISON``, ``is_placeless``, ``name_bits``, ``namesakes`` (the
    organisations of the company's name, at most ``MAX_NAMESAKES``) and the table ``w`` of ``weight_row``.
    ``name_information``: of the agreeing words, scaled by level; ``max_name_information``: its maximum; both DOUBLE,
    bits. ``only_similar_name`` (BOOLEAN): the recipient has not quite the company's name, and no place, which hardly
    any partner lacks.
    """
    placeless = "CASE WHEN is_placeless THEN w.placeless[2] ELSE w.placeless[1] END"
    return {
        "placeless_bits": placeless,
        "name_information": "w.scale[name_level + 1] * CAST(name_agreement AS DOUBLE) * name_bits",
        # Related firms have partly equal names, however few recipients there are of the kind that partners are of.
        "max_name_information": "w.max_name_bits[name_level + 1] + w.namesake_bits[namesakes + 1]"
        f" - CASE WHEN {_IS_PARTIAL} THEN greatest(0.0, {placeless}) ELSE 0.0 END",
        "only_similar_name": f"{_IS_PARTIAL} AND is_placeless AND w.placeless[2] < {_RARE_PLACELESS_BITS}",
    }


def weight_sql() -> dict[str, str]:
    """Return SQL expressions (DOUBLE, bits) of the weight of each comparison.

    They use the columns of ``schema.COMPARISON`` and of ``limit_sql``, ``equal_name_in_town`` (whether
    ``EQUAL_NAME_IN_TOWN_SQL`` holds for any candidate of the company) and the table ``w`` of ``weight_row``.
    """
    return {
        "name": (
            f"CASE WHEN name_level = {NameLevel.NOTHING_IN_COMMON} THEN w.name[name_level + 1]"
            " ELSE w.name[name_level + 1] + w.kind[name_kind + 1] + w.level[name_level + 1]"
            " + least(name_information, max_name_information)"
            f" - CASE WHEN name_level = {NameLevel.TYPO} AND {_IN_TOWN} AND equal_name_in_town"
            f" THEN {model.EQUAL_NAME_IN_TOWN_BITS} ELSE 0.0 END END"
        ),
        "sibling": f"CASE WHEN sibling_level = {SiblingLevel.NONE} THEN 0.0 ELSE w.sibling END",
        "place": (
            # Firms of partly equal names are at least as often in one town as firms of equal ones.
            f"placeless_bits + CASE WHEN {_IS_PARTIAL} THEN least(w.namesake_place[place_level + 1],"
            f" w.place[place_level + 1] + CASE WHEN {_IN_TOWN} AND street_level < {StreetLevel.SAME}"
            " THEN w.partial_town[name_level + 1] ELSE 0.0 END)"
            " WHEN name_information > max_name_information THEN w.namesake_place[place_level + 1]"
            " ELSE w.place[place_level + 1] END"
        ),
        "street": f"CASE WHEN {_IN_TOWN} THEN w.street[street_level + 1] ELSE 0.0 END",
        **{
            name: f"CASE {name}_agreement WHEN {Agreement.AGREE} THEN w.{name}_agree"
            f" WHEN {Agreement.CONFLICT} THEN w.{name}_conflict ELSE 0.0 END"
            for name in ("uei", "duns")
        },
    }


def weight_row(weights: model.Weights) -> dict[str, Any]:
    """Return the single row of the table ``w`` of ``weight_sql``."""
    return {
        "name": weights.name.tolist(),
        "kind": list(model.KIND_BITS),
        "level": list(model.LEVEL_BITS),
        "scale": list(model.LEVEL_SCALE),
        "sibling": model.SIBLING_BITS,
        "partial_town": weights.partial_town.tolist(),
        "max_name_bits": weights.max_name_bits.tolist(),
        "namesake_bits": weights.namesakes.tolist(),
        "place": weights.place.tolist(),
        "namesake_place": weights.namesake_place.tolist(),
        "placeless": weights.placeless.tolist(),
        "street": weights.street.tolist(),
        "uei_conflict": weights.uei[0],
        "uei_agree": weights.uei[1],
        "duns_conflict": weights.duns[0],
        "duns_agree": weights.duns[1],
    }
