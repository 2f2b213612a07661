"""One typed tree of settings, and where each value came from.

Precedence: command line > environment > file > default. A file may extend another (``extends: base.yaml``,
beside it); its own values win. Environment variables are ``ENRICH_DIST_`` + the key in capitals with ``__`` for
each dot (``ENRICH_DIST_CLUSTER__N_WORKERS``). Unknown keys are errors, wherever they stand.

Does not cover what a setting does: that is told by the comment beside it in ``config/base.yaml``.
Relative paths are relative to the current directory.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from enrich_dist.errors import SettingsError
from enrich_dist.store.files import document_digest
from enrich_dist.store.storage import uri_options

if TYPE_CHECKING:
    from enrich_dist.matching.config import CandidateConfig
    from enrich_dist.matching.decisions import DecisionConfig

ENV_PREFIX = "ENRICH_DIST_"
CONFIG_VARIABLE = "ENRICH_DIST_CONFIG"  # names the settings file where --config does not
DEFAULT_CONFIG = Path("config/base.yaml")
Share = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveShare = Annotated[float, Field(gt=0.0, le=1.0)]


class _Section(BaseModel):
    # A value may be a secret in the wrong place: pydantic's own text must not repeat it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class InputSettings(_Section):
    """Where the two tables are and how their columns are named."""

    awards: Path | None = None
    recipients: Path | None = None
    award_columns: dict[str, str | None] = {}
    recipient_columns: dict[str, str | None] = {}


class PathSettings(_Section):
    """Where a run writes: nothing is written outside ``work_dir`` but ``checkpoints``, where that is given, and the one
    record of the run (``history.archive.archive_path``)."""

    work_dir: Path = Path("work")
    checkpoints: str | None = None
    benchmarks: Path | None = None

    @field_validator("checkpoints")
    @classmethod
    def _checkpoints_can_be_a_location(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            uri_options(value)
        return value


class TlsSettings(_Section):
    """The certificates with which driver, scheduler and workers know each other; all three files or none."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @property
    def given(self) -> bool:
        """Whether there are certificates."""
        return self.ca_file is not None

    @model_validator(mode="after")
    def _all_or_none(self) -> TlsSettings:
        missing = [name for name in ("ca_file", "cert_file", "key_file") if getattr(self, name) is None]
        if missing and len(missing) < 3:
            raise ValueError(f"tls needs all of ca_file, cert_file and key_file; {' and '.join(missing)} not set")
        return self


class AdaptiveSettings(_Section):
    """The fewest and the most workers that a cluster may have while it follows the work; both or none."""

    minimum: Annotated[int, Field(ge=1)] | None = None
    maximum: Annotated[int, Field(ge=1)] | None = None

    @property
    def given(self) -> bool:
        """Whether the cluster follows the work."""
        return self.maximum is not None

    @model_validator(mode="after")
    def _minimum_and_maximum(self) -> AdaptiveSettings:
        if (self.minimum is None) != (self.maximum is None):
            raise ValueError("adaptive needs both minimum and maximum")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"adaptive.minimum {self.minimum} lies above adaptive.maximum {self.maximum}")
        return self


def _keys_within(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _keys_within(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys_within(inner)


ClusterKindName = Literal["local", "address", "ssh", "kubernetes", "slurm", "pbs", "lsf", "sge", "oar", "moab"]
_SCALED_BY_OTHERS = ("address", "ssh")
_SECRET = re.compile(r"pass(word|phrase|wd)|secret|token|credential|access_?key", re.IGNORECASE)


class ClusterSettings(_Section):
    """The Dask cluster that the chunks are farmed out to."""

    kind: ClusterKindName = "local"
    n_workers: Annotated[int, Field(ge=1)] = 2
    address: str | None = None
    start_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    adaptive: AdaptiveSettings = AdaptiveSettings()
    tls: TlsSettings = TlsSettings()
    allow_insecure: bool = False
    options: dict[str, Any] = {}

    @field_validator("address")
    @classmethod
    def _address_has_a_protocol(cls, value: str | None) -> str | None:
        if value is not None and "@" in value:
            raise ValueError("an address holds no user or password: a Dask scheduler knows its clients by certificates")
        if value is not None and "://" not in value:
            raise ValueError(f"'{value}' has no protocol; write it as tls://host:port or tcp://host:port")
        return value

    @field_validator("options")
    @classmethod
    def _options_hold_no_secret(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in _keys_within(value):
            if _SECRET.search(key):
                raise ValueError(
                    f"'{key}' looks like a secret, and settings are kept in the history of the runs: name a file "
                    "that holds it (for ssh: connect_options.client_keys)"
                )
        return value

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> ClusterSettings:
        if self.kind == "address" and self.address is None:
            raise ValueError("kind 'address' needs cluster.address, for example tls://scheduler:8786")
        if self.options and self.kind in ("local", "address"):
            raise ValueError(f"kind '{self.kind}' takes no cluster.options; they belong to kinds that start jobs")
        if self.adaptive.given and self.kind in _SCALED_BY_OTHERS:
            raise ValueError(f"kind '{self.kind}' cannot follow the work: remove cluster.adaptive")
        return self

    @model_validator(mode="after")
    def _beyond_this_machine_only_with_tls(self) -> ClusterSettings:
        if self.kind == "local":
            return self
        if self.kind == "kubernetes" and self.tls.given:
            raise ValueError(
                "the Dask operator starts its schedulers without TLS: remove cluster.tls and keep others out by a "
                "network policy, or deploy scheduler and workers with TLS yourself and use kind 'address'"
            )
        if self.kind == "address" and self.address and self.address.startswith("tls://"):
            if not self.tls.given:
                raise ValueError("a tls:// address needs cluster.tls.ca_file, cert_file and key_file")
        elif self.kind == "address" and self.tls.given:
            raise ValueError(f"cluster.tls is set, but the address does not begin with tls://: {self.address}")
        elif not self.tls.given and not self.allow_insecure:
            raise ValueError(
                f"kind '{self.kind}' without TLS lets whoever reaches the scheduler run code: set cluster.tls.ca_file, "
                "cert_file and key_file (`enrich-dist cluster certs` makes them) and, for an address, write it as "
                "tls://; or, in a network where nobody else is, cluster.allow_insecure: true"
            )
        return self


class FarmSettings(_Section):
    """How the driver runs the chunks."""

    max_attempts: Annotated[int, Field(ge=1)] = 3
    min_part_rows: Annotated[int, Field(ge=1)] = 1_000
    heartbeat_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    straggler_factor: Annotated[float, Field(ge=0)] = 3.0
    straggler_min_seconds: Annotated[float, Field(ge=0)] = 10.0
    progress_interval_seconds: Annotated[float, Field(gt=0)] = 10.0


class MatchingSettings(_Section):
    """What makes a candidate (re-runs chunks when changed) and what makes a match (does not)."""

    min_name_overlap: PositiveShare = 0.45
    max_candidates_per_name: Annotated[int, Field(ge=1, le=1_000)] = 8
    max_block_size: Annotated[int, Field(ge=1)] = 2_000
    batch_rows: Annotated[int, Field(ge=1)] = 65_536
    accept_probability: PositiveShare = 0.68
    review_probability: Share = 0.05

    def candidates(self) -> CandidateConfig:
        """The settings of candidate generation."""
        from enrich_dist.matching.config import CandidateConfig

        return CandidateConfig(
            min_name_overlap=self.min_name_overlap,
            max_candidates_per_name=self.max_candidates_per_name,
            max_block_size=self.max_block_size,
            batch_rows=self.batch_rows,
        )

    def decision(self) -> DecisionConfig:
        """The thresholds on the match probability."""
        from enrich_dist.matching.decisions import DecisionConfig

        return DecisionConfig(accept_probability=self.accept_probability, review_probability=self.review_probability)

    @model_validator(mode="after")
    def _review_lies_below_accept(self) -> MatchingSettings:
        if self.review_probability > self.accept_probability:
            raise ValueError(
                f"review_probability {self.review_probability} lies above accept_probability {self.accept_probability}"
            )
        return self


class TestingSettings(_Section):
    """Faults on purpose, to see what a run withstands."""

    __test__ = False  # no test case, whatever its name begins with

    fault_probability: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    fault_seed: int = 0


class Settings(BaseSettings):
    """All settings of a run. Units stand in the names; 1 MB is 1,000,000 bytes."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    inputs: InputSettings = InputSettings()
    paths: PathSettings = PathSettings()
    chunk_size: Annotated[int, Field(ge=1)] = 50_000
    memory_threshold_mb: Annotated[int, Field(ge=256)] = 1_500
    match_rate_threshold: Share = 0.70
    min_estimated_precision: Share = 0.95
    max_quarantined_share: Share = 0.001
    timeout_seconds: Annotated[float, Field(gt=0)] = 1_800.0
    cluster: ClusterSettings = ClusterSettings()
    farm: FarmSettings = FarmSettings()
    matching: MatchingSettings = MatchingSettings()
    testing: TestingSettings = TestingSettings()

    @model_validator(mode="after")
    def _a_fault_can_be_survived(self) -> Settings:
        probability = self.testing.fault_probability
        if probability and self.farm.max_attempts < 2:
            raise ValueError(
                f"testing.fault_probability {probability:g} needs farm.max_attempts of at least 2: no chunk could be "
                "tried again"
            )
        if probability and self.chunk_size < 2 * self.farm.min_part_rows:
            raise ValueError(
                f"testing.fault_probability {probability:g} needs farm.min_part_rows of at most half of chunk_size: no "
                "chunk that lacks memory could be cut"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what ``load_settings`` merged: it asks every source itself, to know each value's origin."""
        return (init_settings,)

    def digest(self) -> str:
        """BLAKE3 of all values."""
        return document_digest(self.model_dump(mode="json"))


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
