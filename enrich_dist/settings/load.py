"""Settings from the command line, the environment, files and defaults, and where each value came from.

Precedence: command line > environment > file > default. A file may extend another (``extends: base.yaml``,
beside it); its own values win. Environment variables are ``ENRICH_DIST_`` + the key in capitals with ``__`` for
each dot (``ENRICH_DIST_CLUSTER__N_WORKERS``). Unknown keys are errors, wherever they stand.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource

from enrich_dist.errors import SettingsError
from enrich_dist.settings.tree import ENV_PREFIX, Settings

CONFIG_VARIABLE = "ENRICH_DIST_CONFIG"  # names the settings file where --config does not
DEFAULT_CONFIG = Path("config/base.yaml")


@dataclass(frozen=True)
class LoadedSettings:
    """Settings with their origins.

    ``origins`` maps each dotted key to "default", "file PATH", "environment NAME" or "command line".
    """

    settings: Settings
    origins: Mapping[str, str]

    def overrides(self) -> list[tuple[str, str, str]]:
        """(key, value, origin) of every value that came from the environment or the command line."""
        values = flatten(self.settings.model_dump(mode="json"))
        return [
            (key, str(values.get(key)), origin)
            for key, origin in sorted(self.origins.items())
            if origin.startswith(("environment", "command line"))
        ]


def load_settings(
    config: Path | None = None, overrides: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> LoadedSettings:
    """Merge command line (``key=value`` texts), environment, file and defaults into settings.

    ``config`` is the settings file; without it the variable ENRICH_DIST_CONFIG, else ``config/base.yaml`` where
    that exists. Raises ``SettingsError`` for unknown keys, malformed or out-of-range values and unreadable files.
    """
    environ = os.environ if environ is None else environ
    if config is None and environ.get(CONFIG_VARIABLE):
        config = Path(environ[CONFIG_VARIABLE])
    if config is None and DEFAULT_CONFIG.is_file():
        config = DEFAULT_CONFIG

    merged: dict[str, Any] = {}
    origins: dict[str, str] = dict.fromkeys(flatten(Settings().model_dump(mode="json")), "default")
    layers = [
        *([] if config is None else _file_layers(config)),
        (_environment_layer(environ), None),
        (_override_layer(overrides), "command line"),
    ]
    for values, origin in layers:
        for key, value in flatten(values).items():
            source = origin or "environment " + ENV_PREFIX + key.upper().replace(".", "__")
            _require_known(key, source)
            _put(merged, key, value)
            origins[key] = source
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise _readable(error, origins) from error
    return LoadedSettings(settings, {key: origins[key] for key in sorted(origins)})


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping to {dotted key: leaf}; an empty mapping is a leaf of no key."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def known_keys() -> tuple[str, ...]:
    """The dotted keys of all settings; a key whose value is a free mapping ends in ``.*``."""
    return tuple(_keys_of(Settings, ""))


def _keys_of(model: type[BaseModel], prefix: str) -> Iterable[str]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _keys_of(annotation, f"{prefix}{name}.")
        elif get_origin(annotation) is dict:
            yield f"{prefix}{name}.*"
        else:
            yield f"{prefix}{name}"


def _require_known(key: str, source: str) -> None:
    known = known_keys()
    if key in known or any(item.endswith(".*") and f"{key}.".startswith(item[:-1]) for item in known):
        return
    close = difflib.get_close_matches(key, [item.removesuffix(".*") for item in known], n=1, cutoff=0.5)
    # A key without its section ("n_workers") is the commonest slip.
    close = [item for item in known if item.endswith(f".{key}")][:1] or close
    remedy = f"Did you mean '{close[0]}'?" if close else "`enrich-dist config show` lists all settings."
    raise SettingsError(f"Unknown setting '{key}' ({source}).", remedy=remedy)


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


def _file_layers(config: Path, seen: tuple[Path, ...] = ()) -> list[tuple[dict[str, Any], str]]:
    """The file's values and those of the files it extends, the most basic first."""
    if config.resolve() in seen:
        raise SettingsError(f"{config} extends itself.", remedy="Remove the 'extends' line that closes the circle.")
    try:
        document = yaml.safe_load(config.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"The settings file {config} does not exist.", remedy="Check --config.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {config} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"The settings file {config} is not valid YAML: {error}.") from error
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise SettingsError(f"The settings file {config} holds no mapping.", remedy="Write lines of 'key: value'.")
    base = document.pop("extends", None)
    layers = [] if base is None else _file_layers(config.parent / str(base), (*seen, config.resolve()))
    return [*layers, (document, f"file {config}")]


def _environment_layer(environ: Mapping[str, str]) -> dict[str, Any]:
    names = [name for name in environ if name.startswith(ENV_PREFIX) and name != CONFIG_VARIABLE]
    for name in names:
        _require_known(name.removeprefix(ENV_PREFIX).lower().replace("__", "."), f"environment {name}")
    source = EnvSettingsSource(Settings)
    # The source reads os.environ when it is made; a caller's own mapping takes its place.
    source.env_vars = {name.lower(): environ[name] for name in names if environ[name] != ""}
    tree: dict[str, Any] = {}
    for key, value in flatten(source()).items():
        _put(tree, key, None if value == "null" else value)  # as YAML writes it
    return tree


def _override_layer(overrides: Iterable[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator:
            raise SettingsError(f"'--set {text}' has no '='.", remedy="Write --set key=value.")
        _require_known(key.strip(), "command line")
        try:
            _put(tree, key.strip(), yaml.safe_load(value) if value else None)
        except yaml.YAMLError:
            _put(tree, key.strip(), value)
    return tree


def _readable(error: ValidationError, origins: Mapping[str, str]) -> SettingsError:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        origin = origins.get(key)
        where = f"{key} ({origin})" if origin else key
        shown = _shown(item["input"]) if origin else None
        lines.append(f"{where}: {item['msg']}, got {shown}" if shown else f"{where}: {item['msg']}")
    return SettingsError("; ".join(lines) + ".", remedy="See the comments in config/base.yaml.")


def _shown(value: Any) -> str | None:
    """The value for a message; of a URI only what cannot hold a secret, and nothing of what may be one."""
    text = repr(value)
    scheme, separator, rest = text.partition("://")
    if separator and set(rest) & set("@?#"):
        return f"{scheme}://…'"
    return text if isinstance(value, str | int | float | None) and "@" not in text else None


def override_texts(values: Sequence[tuple[str, Any]]) -> list[str]:
    """``key=value`` texts for flags that stand for one setting; flags that were not given (None) are left out."""
    return [f"{key}={value}" for key, value in values if value is not None]
