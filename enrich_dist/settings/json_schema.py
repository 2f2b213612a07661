"""The JSON Schema of a settings file, by which editors complete and check it while it is written.

Types and bounds are those of ``tree``, descriptions the comments of ``base.yaml``. Does not cover what several settings
must be together: ``enrich-dist config validate`` tells that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from enrich_dist.settings.comments import base_comments
from enrich_dist.settings.files import EXTENDS
from enrich_dist.settings.tree import Settings

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_EXTENDS = "Another settings file, relative to this one: its values hold where this one has none. May extend a third."


def settings_schema() -> dict[str, Any]:
    """The schema of ``config/base.yaml``, its overlays and any file of one's own."""
    schema = Settings.model_json_schema()
    comments = base_comments()
    for section in (schema, *schema["$defs"].values()):
        section.pop("description", None)  # what the class says is for programmers
    for key, field in _fields(schema, schema, ""):
        field.pop("title", None)
        if key in comments:
            field["description"] = comments[key].text
    schema["properties"] = {EXTENDS: {"type": "string", "description": _EXTENDS}, **schema["properties"]}
    return {"$schema": _DIALECT, **schema, "title": "Settings of enrich_dist"}


def setting_schemas() -> dict[str, dict[str, Any]]:
    """The schema of every single setting by dotted key, in the order of the tree; of sections, too."""
    schema = settings_schema()
    return {key: field for key, field in _fields(schema, schema, "") if key != EXTENDS}


def is_section(field: dict[str, Any]) -> bool:
    """Whether a schema is of a section and not of a setting."""
    return "$ref" in field


def _fields(schema: dict[str, Any], part: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in part.get("properties", {}).items():
        yield f"{prefix}{name}", field
        if "$ref" in field:
            yield from _fields(schema, schema["$defs"][field["$ref"].rpartition("/")[2]], f"{prefix}{name}.")
