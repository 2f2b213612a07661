"""All settings of a run as one typed tree, with what each value may be and what goes together.

Does not cover what a setting does: that is told by the comment beside it in ``config/base.yaml``. Does not cover where
values come from (``load``). Relative paths are relative to the current directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from enrich_dist.core.files import document_digest
from enrich_dist.core.storage import uri_options
from enrich_dist.matching.config import MatchingSettings, SettingsSection, Share

ENV_PREFIX = "ENRICH_DIST_"


def _path_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def refuse_secrets(location: str) -> None:
    """Raise ``ValueError``, which repeats nothing of it, where a URI holds a password or a key."""
    parts = urlsplit(location)
    if not parts.scheme or "://" not in location:
        return
    keys = [key for key, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if parts.password is not None or any(_SECRET.search(key) for key in keys):
        raise ValueError(
            "a source is an address with a password, and settings are kept in the history of the runs: leave it out, "
            "and give it by PGPASSWORD, ~/.pgpass or (for s3://) AWS_SECRET_ACCESS_KEY"
        )


Location = Annotated[str, BeforeValidator(_path_as_text), Field(min_length=1)]


class RecipientInput(SettingsSection):
    """One of several sources of recipients."""

    location: Location
    member: str | None = None
    columns: dict[str, str | None] = Field(default={})


class InputSettings(SettingsSection):
    """Where the two tables are and how their columns are named."""

    awards: Location | None = None
    recipients: Location | list[Location | RecipientInput] | None = None
    recipients_member: str | None = None
    award_columns: dict[str, str | None] = Field(default={})
    recipient_columns: dict[str, str | None] = Field(default={})

    @property
    def recipient_inputs(self) -> tuple[RecipientInput, ...]:
        """The sources of recipients, each with what is its own."""
        given = self.recipients if isinstance(self.recipients, list) else [self.recipients]
        return tuple(
            RecipientInput(location=item) if isinstance(item, str) else item for item in given if item is not None
        )

    # Of the section and not of the field: a message about a field would repeat its value.
    @model_validator(mode="after")
    def _locations_hold_no_secret(self) -> InputSettings:
        for location in (self.awards, *(item.location for item in self.recipient_inputs)):
            refuse_secrets(location or "")
        return self


class PathSettings(SettingsSection):
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


class TlsSettings(SettingsSection):
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


class AdaptiveSettings(SettingsSection):
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


EnvironmentName = Literal["development", "production"]
ClusterKindName = Literal["local", "address", "ssh", "kubernetes", "slurm", "pbs", "lsf", "sge", "oar", "moab"]
_SCALED_BY_OTHERS = ("address", "ssh")
_SECRET = re.compile(r"pass(word|phrase|wd)|secret|token|credential|access_?key", re.IGNORECASE)


class ClusterSettings(SettingsSection):
    """The Dask cluster that the chunks are farmed out to."""

    kind: ClusterKindName = "local"
    n_workers: Annotated[int, Field(ge=1)] = 2
    address: str | None = None
    start_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    adaptive: AdaptiveSettings = AdaptiveSettings()
    tls: TlsSettings = TlsSettings()
    allow_insecure: bool = False
    options: dict[str, Any] = Field(default={})

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


class FarmSettings(SettingsSection):
    """How the driver runs the chunks."""

    max_attempts: Annotated[int, Field(ge=1)] = 3
    min_part_rows: Annotated[int, Field(ge=1)] = 1_000
    heartbeat_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    straggler_factor: Annotated[float, Field(ge=0)] = 3.0
    straggler_min_seconds: Annotated[float, Field(ge=0)] = 10.0
    progress_interval_seconds: Annotated[float, Field(gt=0)] = 10.0


class MonitoringSettings(SettingsSection):
    """The ways in which the figures of a run leave for Prometheus; none by default."""

    address: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    textfile: Path | None = None
    pushgateway: str | None = None
    job: Annotated[str, Field(min_length=1)] = "enrich_dist"

    @property
    def given(self) -> bool:
        """Whether there is any way."""
        return not (self.port is None and self.textfile is None and self.pushgateway is None)

    @field_validator("textfile")
    @classmethod
    def _textfile_is_read_by_node_exporter(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix != ".prom":
            raise ValueError(f"node_exporter reads only files whose name ends in .prom, not '{value.name}'")
        return value

    @field_validator("pushgateway")
    @classmethod
    def _pushgateway_is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return value
        if "@" in value or "?" in value:
            raise ValueError("the address of a Pushgateway holds no user, password or token: settings are kept")
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
            raise ValueError(f"'{value}' is no address; write it as http://host:9091")
        return value


class CheckSettings(SettingsSection):
    """When a run that is worse than the recent ones is told: a warning from ``warn_…``, an error from ``fail_…``."""

    recent_runs: Annotated[int, Field(ge=6)] = 10
    warn_slower_share: Annotated[float, Field(gt=0)] = 0.10
    fail_slower_share: Annotated[float, Field(gt=0)] = 0.30
    warn_memory_share: Annotated[float, Field(gt=0)] = 0.20
    fail_memory_share: Annotated[float, Field(gt=0)] = 0.50
    warn_match_rate_points: Annotated[float, Field(gt=0, le=100)] = 1.0
    fail_match_rate_points: Annotated[float, Field(gt=0, le=100)] = 5.0

    @model_validator(mode="after")
    def _a_warning_comes_before_an_error(self) -> CheckSettings:
        for name in ("slower_share", "memory_share", "match_rate_points"):
            warn, fail = getattr(self, f"warn_{name}"), getattr(self, f"fail_{name}")
            if warn > fail:
                raise ValueError(f"warn_{name} {warn:g} lies above fail_{name} {fail:g}")
        return self


class NotificationSettings(SettingsSection):
    """Where operators are told. Addresses hold secrets, so that settings only name the file they stand in."""

    urls_file: Path | None = None

    # Of the section and not of the field: a message about a field would repeat its value.
    @model_validator(mode="after")
    def _addresses_stand_in_the_file(self) -> NotificationSettings:
        if self.urls_file is not None and re.match(r"\w+:/", str(self.urls_file)):
            raise ValueError(
                "urls_file is an address, and settings are kept in the history of the runs: write the address into a "
                "file that only you can read, and name that file"
            )
        return self


class ReadinessSettings(SettingsSection):
    """What must hold before production, and how long it counts that it did."""

    max_age_hours: Annotated[float, Field(gt=0)] = 24.0
    smoke_config: Path = Path("config/sample.yaml")
    max_hours: Annotated[float, Field(gt=0)] | None = None
    min_free_gb: Annotated[float, Field(ge=0)] = 5.0
    osv_url: str | None = None

    @field_validator("osv_url")
    @classmethod
    def _database_is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return value
        if "@" in value or "?" in value:
            raise ValueError("the address of the database holds no user, password or token: settings are kept")
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
            raise ValueError(f"'{value}' is no address; write it as https://host/v1/query")
        return value


class TestingSettings(SettingsSection):
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

    environment: EnvironmentName = "development"
    inputs: InputSettings = InputSettings()
    paths: PathSettings = PathSettings()
    chunk_size: Annotated[int, Field(ge=1)] = 50_000
    memory_threshold_mb: Annotated[int, Field(ge=256)] = 1_500
    match_rate_threshold: Share = 0.70
    fail_fast: bool = False
    min_estimated_precision: Share = 0.95
    max_quarantined_share: Share = 0.001
    timeout_seconds: Annotated[float, Field(gt=0)] = 1_800.0
    cluster: ClusterSettings = ClusterSettings()
    farm: FarmSettings = FarmSettings()
    matching: MatchingSettings = MatchingSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    checks: CheckSettings = CheckSettings()
    notifications: NotificationSettings = NotificationSettings()
    readiness: ReadinessSettings = ReadinessSettings()
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
