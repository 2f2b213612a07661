"""The settings as a Markdown page: docs/reference/settings.md, made of the tree and the comments of ``base.yaml``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from enrich_dist.settings.comments import base_comments
from enrich_dist.settings.json_schema import is_section, setting_schemas
from enrich_dist.settings.tree import ENV_PREFIX, Settings, flatten

_HEAD = """# Settings

Made by `enrich-dist config reference` from `config/base.yaml` and the types of the settings; do not edit it. How a
value is chosen, files that extend others, and checks: [configuration](../how-to/configure.md).
"""
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
_BOUNDS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "above"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "below"),
)


def render_reference() -> str:
    """The page: every setting with type, default, unit, variable and comment, in the order of the tree."""
    comments, defaults = base_comments(), flatten(Settings().model_dump(mode="json"))
    parts = [_HEAD]
    for key, field in setting_schemas().items():
        text = comments[key].without_unit if key in comments else ""
        if is_section(field):
            parts.append(f"## {key}\n\n{text}\n")
            continue
        facts = [type_text(field), f"default `{json.dumps(defaults.get(key, {}))}`"]
        if key in comments and comments[key].unit:
            facts.append(f"unit: {comments[key].unit}")
        facts.append(f"`{ENV_PREFIX}{key.upper().replace('.', '__')}`")
        parts.append(f"### `{key}`\n\n{' · '.join(facts)}\n\n{text}\n")
    return "\n".join(parts)


def type_text(field: dict[str, Any]) -> str:
    """What a value may be, from its JSON Schema."""
    if "anyOf" in field:
        return _either(type_text(part) for part in field["anyOf"])
    if "enum" in field:
        return "one of " + ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    kind = field.get("type")
    if kind == "object":
        return "mapping"
    if kind == "array":
        return f"list of {type_text(field.get('items', {}))}"
    if field.get("format") == "path":
        return "path"
    bounds = [f"{words} {field[name]:,}" for name, words in _BOUNDS if name in field]
    return ", ".join([_TYPES.get(str(kind), "any value"), *bounds])


def _either(texts: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(texts))
