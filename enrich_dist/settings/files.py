"""Reading of settings files and the files they extend, with the line of each key.

Every scalar is text, or None for YAML's null: the types of the settings decide what a text means, so that
``work_dir: 2026-11-30`` is a directory. Below a key of ``NATIVE`` numbers and booleans are those of YAML. Size, depth
and number of values are bounded. Does not check keys (``load``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

import yaml

from enrich_dist.core.files import read_text
from enrich_dist.errors import SettingsError
from enrich_dist.settings.values import expand_user

EXTENDS = "extends"  # the only key of a file that is not a setting
NATIVE: Final = "cluster.options"  # arguments of other packages, which have types of their own
MAX_BYTES: Final = 256_000
MAX_DEPTH: Final = 20
MAX_VALUES: Final = 10_000  # with those that aliases repeat
_FILE = "file "
_TAG: Final = "tag:yaml.org,2002:"
_TAGS: Final = {_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "timestamp", "value")}


class InvalidTextError(ValueError):
    """A text is not valid YAML, or not usable as a value; the message says where."""


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidTextError(f"it has more than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def parse(text: str, key: str = "") -> Any:
    """Return the value of a YAML text, to be stored under ``key``. Raises ``InvalidTextError``."""
    root = _compose(text)
    return None if root is None else _value(root, key, count(1))


def _compose(text: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)
        return loader.get_single_node()
    except InvalidTextError:
        raise
    except yaml.MarkedYAMLError as error:
        at = "" if (mark := error.problem_mark) is None else f", line {mark.line + 1}, column {mark.column + 1}"
        raise InvalidTextError(f"it is not valid YAML: {error.problem or error.context}{at}") from error
    except (yaml.YAMLError, ValueError, OverflowError, IndexError) as error:  # PyYAML lets some of Python's through
        raise InvalidTextError(f"it is not valid YAML: {' '.join(str(error).split())}") from error


def _value(node: yaml.Node, key: str, counter: Iterator[int], depth: int = 0) -> Any:
    if depth > MAX_DEPTH or next(counter) > MAX_VALUES:
        raise InvalidTextError(f"with its aliases it has more than {MAX_DEPTH} levels or {MAX_VALUES:,} values")
    line = node.start_mark.line + 1
    if node.tag not in _TAGS:
        raise InvalidTextError(f"line {line} has the tag {node.tag.replace(_TAG, '!!')}, which settings do not support")
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, key, counter, depth + 1) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for name, value in node.value:
            at = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode) or name.tag == f"{_TAG}merge":
                raise InvalidTextError(f"line {at} has a key that is no text; '<<' is not supported, use '{EXTENDS}'")
            text = _text(name)
            if text in lines:
                raise InvalidTextError(f"{text!r} occurs twice, in line {lines[text]} and in line {at}")
            lines[text] = at
            found[text] = _value(value, f"{key}.{text}".lstrip("."), counter, depth + 1)
        return found
    if node.tag == f"{_TAG}null" or not isinstance(node, yaml.ScalarNode):
        return None
    return _native(node) if f"{key}.".startswith(f"{NATIVE}.") else _text(node)


def _text(node: yaml.ScalarNode) -> str:
    text = str(node.value)
    if problem := text_problem(text):
        raise InvalidTextError(f"line {node.start_mark.line + 1} {problem}")
    return text


def text_problem(text: str) -> str | None:
    """Return why no setting can have this text."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return "contains a NUL character, or bytes that are not UTF-8"
    return None


def _native(node: yaml.ScalarNode) -> Any:
    constructor, kind = yaml.SafeLoader(""), node.tag.removeprefix(_TAG)
    try:
        if kind == "bool":
            return constructor.construct_yaml_bool(node)
        if kind == "int" and -(2**63) <= (whole := constructor.construct_yaml_int(node)) < 2**63:
            return whole
        if kind == "float" and math.isfinite(number := constructor.construct_yaml_float(node)):
            return number
    except (ValueError, OverflowError, KeyError):
        kind = "number"
    if kind in ("int", "float", "number"):
        raise InvalidTextError(f"line {node.start_mark.line + 1} has a number that is too large or not finite")
    return _text(node)


def with_line(origin: str, key: str) -> str:
    """Return the origin, with the line of the key if it is a file."""
    if not origin.startswith(_FILE):
        return origin
    line = key_lines(read_text(Path(origin.removeprefix(_FILE)), MAX_BYTES)).get(key)
    return origin if line is None else f"{origin}, line {line}"


def file_layers(config: Path, seen: tuple[str, ...] = ()) -> list[tuple[dict[str, Any], str]]:
    """Return (values, origin) of the file and the files it extends, base file first.

    Raises ``SettingsError`` if a file cannot be read, is not a mapping, or extends itself.
    """
    config = Path(expand_user(config))
    real = os.path.realpath(config)  # Path.resolve fails for a loop of symbolic links
    if real in seen:
        raise SettingsError(f"{config} extends itself.", remedy="Remove the 'extends' line that closes the cycle.")
    try:
        document = parse(read_text(config, MAX_BYTES))
    except FileNotFoundError as error:
        named = f"'{EXTENDS}' in {_shown(Path(seen[-1]))}" if seen else "--config"
        raise SettingsError(f"The settings file {config} does not exist.", remedy=f"Check {named}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The settings file {config} is not UTF-8 text (byte {error.start:,}).") from error
    except OSError as error:
        raise SettingsError(f"The settings file {config} cannot be read: {error.strerror or error}.") from error
    except InvalidTextError as error:
        raise SettingsError(
            f"The settings file {config} cannot be used: {error}.", remedy="Correct the file at this position."
        ) from error
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise SettingsError(f"The settings file {config} is not a mapping.", remedy="Write lines of 'key: value'.")
    base = document.pop(EXTENDS, None)
    if base is not None and not isinstance(base, str):
        raise SettingsError(f"'{EXTENDS}' in {config} is not the name of a file.", remedy="Write extends: base.yaml.")
    layers = [] if base is None else file_layers(config.parent / expand_user(base), (*seen, real))
    return [*layers, (document, f"{_FILE}{config}")]


@cache
def key_lines(text: str) -> dict[str, int]:
    """Return the line of every key of a YAML text by dotted key, including sections, counted from 1."""
    root = _compose(text)
    return dict(_lines(root, "")) if root is not None else {}


def _lines(node: yaml.Node, prefix: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            yield name, key.start_mark.line + 1
            yield from _lines(value, f"{name}.")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
