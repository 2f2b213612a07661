"""Settings from the command line, the environment, files and defaults, with the origin of each value.

Precedence: command line > environment > file > default. A file may extend another (``extends: base.yaml``). Environment
variables are ``ENRICH_DIST_`` + the key in capitals with ``__`` for each dot (``ENRICH_DIST_CLUSTER__N_WORKERS``).
Unknown keys are errors. All errors are reported at once.

On the command line and in the environment a text, path or number is taken as it is; only lists, mappings and values
below ``cluster.options`` are YAML. ``null``, or nothing after the ``=``, is no value where a setting may have none.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from enrich_dist.errors import SettingsError
from enrich_dist.settings.files import NATIVE, InvalidTextError, file_layers, parse, text_problem, with_line
from enrich_dist.settings.tree import ENV_PREFIX, Settings, environment_variable

CONFIG_VARIABLE = "ENRICH_DIST_CONFIG"  # names the settings file without --config
DEFAULT_CONFIG = Path("config/base.yaml")
DEFAULT, COMMAND_LINE, ENVIRONMENT = "default", "command line", "environment"
_MAX_SHOWN = 200
_COMMENTS = "See the comments in config/base.yaml."


@dataclass(frozen=True)
class UsedSetting:
    """A setting of a run: dotted key, value as text, and origin (see ``LoadedSettings.origins``)."""

    key: str
    value: str
    origin: str

    @property
    def is_override(self) -> bool:
        """Return whether the value was chosen. A value in a file that equals the default is no override."""
        return self.origin.startswith((COMMAND_LINE, ENVIRONMENT)) or _defaults().get(self.key) != self.value

    @property
    def line(self) -> str:
        """Return the line for the log."""
        return f"setting {self.key} = {self.value} ({self.origin})"


def used_settings(values: Mapping[str, Any], origins: Mapping[str, str]) -> tuple[UsedSetting, ...]:
    """Return all settings, sorted by key."""
    return tuple(UsedSetting(key, _text(value), origins.get(key, DEFAULT)) for key, value in sorted(values.items()))


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


@cache
def _defaults() -> Mapping[str, str]:
    return {key: _text(value) for key, value in Settings().flat().items()}


@dataclass(frozen=True)
class LoadedSettings:
    """Settings with their origins.

    ``origins`` maps each dotted key to "default", "file PATH", "environment NAME" or "command line".
    """

    settings: Settings
    origins: Mapping[str, str]

    def used(self) -> tuple[UsedSetting, ...]:
        """Return every setting with its value as text and its origin."""
        return used_settings(self.settings.flat(), self.origins)

    def overrides(self) -> list[UsedSetting]:
        """Return the settings that were chosen for this run."""
        return [item for item in self.used() if item.is_override]


def load_settings(
    config: Path | None = None, overrides: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> LoadedSettings:
    """Merge command line (``key=value`` texts), environment, file and defaults into settings.

    ``config``: the settings file; default ENRICH_DIST_CONFIG, then ``config/base.yaml`` if it exists. Raises
    ``SettingsError`` for unknown keys, malformed or out-of-range values and unreadable files, with one of its ``parts``
    per error.
    """
    environ = os.environ if environ is None else environ
    if config is None and environ.get(CONFIG_VARIABLE):
        config = Path(environ[CONFIG_VARIABLE])
    if config is None and DEFAULT_CONFIG.is_file():
        config = DEFAULT_CONFIG

    merged: dict[str, Any] = {}
    origins: dict[str, str] = dict.fromkeys(_defaults(), DEFAULT)
    wrong: list[SettingsError] = []
    layers = [
        *([] if config is None else file_layers(config)),
        (_environment_layer(environ, wrong), None),
        (_override_layer(overrides, wrong), COMMAND_LINE),
    ]
    for values, origin in layers:
        for path, value in _leaves(values):
            key = ".".join(path)
            source = origin or f"{ENVIRONMENT} {environment_variable(key)}"
            if value is None and _is_section(key):
                continue  # a section without settings
            if unknown := _unknown(key, source):
                wrong.append(unknown)
                continue
            _put(merged, path, value)
            origins[key] = source
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        wrong += _readable(error, origins)
    if wrong:
        raise wrong[0] if len(wrong) == 1 else SettingsError(" ".join(map(str, wrong)), parts=tuple(wrong))
    return LoadedSettings(settings, {key: origins[key] for key in sorted(origins)})


@cache
def known_keys() -> tuple[str, ...]:
    """Return the dotted keys of all settings. A key whose value is a free mapping ends in ``.*``."""
    return tuple(_types())


@cache
def _types() -> Mapping[str, frozenset[Any]]:
    """Return the types that the value of each known key may have."""
    return dict(_types_of(Settings, ""))


def _types_of(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, frozenset[Any]]]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _types_of(annotation, f"{prefix}{name}.")
        elif get_origin(annotation) is dict:
            yield f"{prefix}{name}.*", frozenset(_members(get_args(annotation)[1]))
        else:
            yield f"{prefix}{name}", frozenset(_members(annotation))


def _members(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _members(part)
    else:
        yield origin or annotation


def _is_section(key: str) -> bool:
    return any(known.startswith(f"{key}.") for known in known_keys())


def _unknown(key: str, source: str) -> SettingsError | None:
    """Return the error for an unknown setting."""
    known = known_keys()
    if key in known or any(item.endswith(".*") and f"{key}.".startswith(item[:-1]) for item in known):
        return None
    where = with_line(source, key)
    if _is_section(key):
        return SettingsError(f"'{key}' is a section, not a setting ({where}).", remedy="Write its settings below it.")
    close = difflib.get_close_matches(key, [item.removesuffix(".*") for item in known], n=1, cutoff=0.5)
    # The most common mistake is a key without its section ("n_workers").
    close = [item for item in known if item.endswith(f".{key}")][:1] or close
    remedy = f"Did you mean '{close[0]}'?" if close else "`enrich-dist config show` lists all settings."
    return SettingsError(f"Unknown setting '{key}' ({where}).", remedy=remedy)


def _leaves(tree: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (path, value) of the values of a layer. A key may contain the dots of its sections; the dots of a key of a
    free mapping are its own."""
    for name, value in tree.items():
        own = f"{'.'.join(prefix)}.*" in _types() or _native(prefix)
        path = (*prefix, *([name] if own else name.split(".")))
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield path, value


def _native(path: Sequence[str]) -> bool:
    return ".".join(path).startswith(f"{NATIVE}.")


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *sections, name = path
    for section in sections:
        if not isinstance(tree.get(section), dict):
            tree[section] = {}
        tree = tree[section]
    tree[name] = value


def _environment_layer(environ: Mapping[str, str], wrong: list[SettingsError]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if name.startswith(ENV_PREFIX) and name != CONFIG_VARIABLE:
            key = name.removeprefix(ENV_PREFIX).lower().replace("__", ".")
            if unknown := _unknown(key, f"{ENVIRONMENT} {name}"):
                wrong.append(unknown)
            elif text:
                _add(values, key, text, f"{ENVIRONMENT} {name}", wrong)
    return values


def _override_layer(overrides: Iterable[str], wrong: list[SettingsError]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        key = key.strip()
        if not separator:
            wrong.append(SettingsError(f"'--set {text}' has no '='.", remedy="Write --set key=value."))
        elif unknown := _unknown(key, COMMAND_LINE):
            wrong.append(unknown)
        else:
            _add(values, key, value, COMMAND_LINE, wrong)
    return values


def _add(values: dict[str, Any], key: str, text: str, origin: str, wrong: list[SettingsError]) -> None:
    """Add the value that a text of the command line or the environment is."""
    try:
        values[key] = _value_of(key, text)
    except InvalidTextError as error:
        wrong.append(SettingsError(f"{key} ({origin}): {error}.", remedy=_COMMENTS))


def _value_of(key: str, text: str) -> Any:
    if problem := text_problem(text):
        raise InvalidTextError(f"it {problem}")
    mapping = f"{key}.*" in _types()
    types = {dict} if mapping else _types().get(key) or _types()[f"{_free_mapping(key)}.*"]
    if text in ("", "null") and (mapping or NoneType in types or Any in types):
        return None
    if Any in types or dict in types:
        return parse(text, key)
    if list in types and text.startswith("[") and text.endswith("]"):
        return parse(text, key)
    return text


def _free_mapping(key: str) -> str:
    """Return the key of the free mapping that this key is in."""
    return next(known[:-2] for known in known_keys() if known.endswith(".*") and key.startswith(known[:-1]))


def _readable(error: ValidationError, origins: Mapping[str, str]) -> list[SettingsError]:
    found = []
    for item in error.errors():
        parts = [str(part) for part in item["loc"]]
        key = ".".join(parts)
        message = item["msg"].removeprefix("Value error, ")
        within = (".".join(parts[:length]) for length in range(len(parts), 0, -1))  # an item of a list has no origin
        named = next((name for name in within if name in origins), None)
        if named is None:  # of several settings together
            where = "; ".join(_origins_named(message, key, origins))
            found.append(SettingsError(f"{f'{key}: ' if key else ''}{message}{f' ({where})' if where else ''}."))
            continue
        shown = _shown(item["input"])
        where = f"{key} ({with_line(origins[named], named)})"
        found.append(SettingsError(f"{where}: {message}{f', got {shown}' if shown else ''}.", remedy=_COMMENTS))
    return found


def _origins_named(message: str, section: str, origins: Mapping[str, str]) -> Iterable[str]:
    """Yield the origins of the settings that a message about a section names."""
    words = set(re.findall(r"[a-z_]+", message))
    for key, origin in origins.items():
        name = key.rpartition(".")[2]
        if key.startswith(f"{section}." if section else "") and name in words and origin != DEFAULT:
            yield f"{key}: {with_line(origin, key)}"


def _shown(value: Any) -> str | None:
    """Return the value for a message without anything that may be a secret."""
    text = repr(value)
    if len(text) > _MAX_SHOWN:
        text = f"{text[:_MAX_SHOWN]}…"
    scheme, separator, rest = text.partition(":/")  # a path has one slash left of two
    if separator and set(rest) & set("@?#:"):
        return f"{scheme}://…'"
    return text if isinstance(value, str | int | float | None) and "@" not in text else None


def override_texts(values: Iterable[tuple[str, Any]]) -> list[str]:
    """Return ``key=value`` texts for flags of single settings, without flags that were not given (None)."""
    return [override_text(key, value) for key, value in values if value is not None]


def override_text(key: str, value: Any) -> str:
    """Return the ``key=value`` text that gives a setting this value; a text alone is one item where a list may be."""
    if isinstance(value, str | Path) and not _native(key.split(".")):
        text = str(value)
        if not text.startswith("[") or list not in _types().get(key, ()):
            return f"{key}={text}"
        value = [text]
    return f"{key}={json.dumps(value, default=str, ensure_ascii=False)}"
