"""The JSON Schema of a settings file, for completion and checks in editors.

Types and bounds come from ``tree``, descriptions from the comments of ``base.yaml``. Does not cover constraints between
settings, which ``enrich-dist config validate`` checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from enrich_dist.settings.comments import base_comments
from enrich_dist.settings.files import EXTENDS
from enrich_dist.settings.tree import Settings

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_EXTENDS = "Base settings file, relative to this one. The values of this file take precedence. It may extend another."


def settings_schema() -> dict[str, Any]:
    """Return the schema of settings files."""
    schema = Settings.model_json_schema()
    comments = base_comments()
    for section in (schema, *schema["$defs"].values()):
        section.pop("description", None)  # the docstring of the class
    for key, field in _fields(schema, schema, ""):
        field.pop("title", None)
        if key in comments:
            field["description"] = comments[key].text
    schema["properties"] = {EXTENDS: {"type": "string", "description": _EXTENDS}, **schema["properties"]}
    return {"$schema": _DIALECT, **schema, "title": "Settings of enrich_dist"}


def setting_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of every setting and section by dotted key, in the order of the tree."""
    schema = settings_schema()
    return {key: field for key, field in _fields(schema, schema, "") if key != EXTENDS}


def is_section(field: dict[str, Any]) -> bool:
    """Return whether a schema describes a section."""
    return "$ref" in field


def _fields(schema: dict[str, Any], part: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in part.get("properties", {}).items():
        yield f"{prefix}{name}", field
        if "$ref" in field:
            yield from _fields(schema, schema["$defs"][field["$ref"].rpartition("/")[2]], f"{prefix}{name}.")
