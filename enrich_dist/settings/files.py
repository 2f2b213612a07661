"""Reading of settings files and the files they extend, with the line of each key.

Does not check keys (``load``).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from enrich_dist.errors import SettingsError

EXTENDS = "extends"  # the only key of a file that is not a setting
_FILE = "file "


class _Loader(yaml.SafeLoader):
    """Refuses duplicate keys, of which PyYAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                raise yaml.constructor.ConstructorError(
                    problem=f"'{key.value}' occurs twice, in line {lines[key.value]} and in line {line}"
                )
            lines[str(key.value)] = line
        return super().construct_mapping(node, deep)


def with_line(origin: str, key: str) -> str:
    """Return the origin, with the line of the key if it is a file."""
    if not origin.startswith(_FILE):
        return origin
    line = key_lines(Path(origin.removeprefix(_FILE)).read_text("utf-8")).get(key)
    return origin if line is None else f"{origin}, line {line}"


def file_layers(config: Path, seen: tuple[Path, ...] = ()) -> list[tuple[dict[str, Any], str]]:
    """Return (values, origin) of the file and the files it extends, base file first.

    Raises ``SettingsError`` if a file cannot be read, is not a mapping, or extends itself.
    """
    if config.resolve() in seen:
        raise SettingsError(f"{config} extends itself.", remedy="Remove the 'extends' line that closes the cycle.")
    try:
        document = _Loader(config.read_text("utf-8")).get_single_data()
    except FileNotFoundError as error:
        named = f"'{EXTENDS}' in {_shown(seen[-1])}" if seen else "--config"
        raise SettingsError(f"The settings file {config} does not exist.", remedy=f"Check {named}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {config} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise SettingsError(
            f"The settings file {config} is not valid YAML: {error}.", remedy="Correct the file at this position."
        ) from error
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise SettingsError(f"The settings file {config} is not a mapping.", remedy="Write lines of 'key: value'.")
    base = document.pop(EXTENDS, None)
    layers = [] if base is None else file_layers(config.parent / str(base), (*seen, config.resolve()))
    return [*layers, (document, f"{_FILE}{config}")]


@cache
def key_lines(text: str) -> dict[str, int]:
    """Return the line of every key of a YAML text by dotted key, including sections, counted from 1."""
    root = yaml.compose(text, yaml.SafeLoader)
    return dict(_lines(root, "")) if root is not None else {}


def _lines(node: yaml.Node, prefix: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            yield name, key.start_mark.line + 1
            yield from _lines(value, f"{name}.")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
