"""All settings of a run as one typed tree, with ranges and constraints between settings.

``config/base.yaml`` describes each setting. Does not cover origins of values (``load``). Relative paths are relative to
the current directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from enrich_dist.core.files import document_digest
from enrich_dist.core.storage import uri_options
from enrich_dist.matching.config import MatchingSettings, SettingsSection, Share
from enrich_dist.settings.performance import PerformanceSettings
from enrich_dist.settings.values import (
    MAX_SECONDS,
    SECRET,
    Hours,
    HttpUrl,
    Increase,
    LocalPath,
    Location,
    Rows,
    Seconds,
    Workers,
    refuse_secrets,
)

ENV_PREFIX = "ENRICH_DIST_"


def environment_variable(key: str) -> str:
    """Return the environment variable of a setting."""
    return ENV_PREFIX + key.upper().replace(".", "__")


class RecipientInput(SettingsSection):
    """One of several sources of recipients, or of their names over time."""

    location: Location
    member: str | None = None
    columns: dict[str, str | None] = Field(default={})


class InputSettings(SettingsSection):
    """The two input tables and their column names."""

    awards: Location | None = None
    recipients: Location | list[Location | RecipientInput] | None = None
    recipients_member: str | None = None
    award_columns: dict[str, str | None] = Field(default={})
    recipient_columns: dict[str, str | None] = Field(default={})
    name_history: Location | list[Location | RecipientInput] | None = None

    @property
    def recipient_inputs(self) -> tuple[RecipientInput, ...]:
        """Return the sources of recipients."""
        return _inputs(self.recipients)

    @property
    def name_inputs(self) -> tuple[RecipientInput, ...]:
        """Return the sources of names over time."""
        return _inputs(self.name_history)

    # A validator of the model, because a message about a field would repeat its value.
    @model_validator(mode="after")
    def _check_locations_for_secrets(self) -> InputSettings:
        for location in (self.awards, *(item.location for item in (*self.recipient_inputs, *self.name_inputs))):
            refuse_secrets(location or "")
        return self


def _inputs(given: str | list[str | RecipientInput] | None) -> tuple[RecipientInput, ...]:
    items = given if isinstance(given, list) else [given]
    return tuple(RecipientInput(location=item) if isinstance(item, str) else item for item in items if item is not None)


class PathSettings(SettingsSection):
    """Output locations. Only ``checkpoints`` and the run record are outside ``work_dir``."""

    work_dir: LocalPath = Path("work")
    checkpoints: Location | None = None
    benchmarks: LocalPath | None = None

    @field_validator("work_dir", "benchmarks", mode="before")
    @classmethod
    def _check_directory(cls, value: object) -> object:
        if re.match(r"[A-Za-z][\w+.-]+:/", str(value)):
            raise ValueError("a directory is needed here, not a URI; only paths.checkpoints may be in an object store")
        return value

    @field_validator("checkpoints")
    @classmethod
    def _check_checkpoints(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            uri_options(value)
        return value


class TlsSettings(SettingsSection):
    """TLS certificates of driver, scheduler and workers: all three files or none."""

    ca_file: LocalPath | None = None
    cert_file: LocalPath | None = None
    key_file: LocalPath | None = None

    @property
    def given(self) -> bool:
        """Return whether there are certificates."""
        return self.ca_file is not None

    @model_validator(mode="after")
    def _all_or_none(self) -> TlsSettings:
        missing = [name for name in ("ca_file", "cert_file", "key_file") if getattr(self, name) is None]
        if missing and len(missing) < 3:
            raise ValueError(f"tls needs ca_file, cert_file and key_file; not set: {' and '.join(missing)}")
        return self


class AdaptiveSettings(SettingsSection):
    """Bounds of adaptive scaling: both or neither."""

    minimum: Workers | None = None
    maximum: Workers | None = None

    @property
    def given(self) -> bool:
        """Return whether the cluster scales adaptively."""
        return self.maximum is not None

    @model_validator(mode="after")
    def _minimum_and_maximum(self) -> AdaptiveSettings:
        if (self.minimum is None) != (self.maximum is None):
            raise ValueError("adaptive needs both minimum and maximum")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"adaptive.minimum {self.minimum} is above adaptive.maximum {self.maximum}")
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


class ClusterSettings(SettingsSection):
    """The Dask cluster that matches the chunks."""

    kind: ClusterKindName = "local"
    n_workers: Workers = 2
    address: str | None = None
    start_timeout_seconds: Seconds = 60.0
    adaptive: AdaptiveSettings = AdaptiveSettings()
    tls: TlsSettings = TlsSettings()
    allow_insecure: bool = False
    options: dict[str, Any] = Field(default={})

    @field_validator("address")
    @classmethod
    def _address_has_a_protocol(cls, value: str | None) -> str | None:
        if value is not None and "@" in value:
            raise ValueError("an address must not contain a user or password: Dask authenticates by certificates")
        if value is not None and "://" not in value:
            raise ValueError(f"'{value}' has no protocol: write tls://host:port or tcp://host:port")
        return value

    @field_validator("options")
    @classmethod
    def _options_hold_no_secret(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in _keys_within(value):
            if SECRET.search(key):
                raise ValueError(
                    f"'{key}' looks like a secret, and the run history keeps the settings: name a file that contains "
                    "it (for ssh: connect_options.client_keys)"
                )
        return value

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> ClusterSettings:
        if self.kind == "address" and self.address is None:
            raise ValueError("kind 'address' needs cluster.address, for example tls://scheduler:8786")
        if self.options and self.kind in ("local", "address"):
            raise ValueError(f"kind '{self.kind}' does not support cluster.options: remove them")
        if self.adaptive.given and self.kind in ("address", "ssh"):
            raise ValueError(f"kind '{self.kind}' does not support adaptive scaling: remove cluster.adaptive")
        return self

    @model_validator(mode="after")
    def _beyond_this_machine_only_with_tls(self) -> ClusterSettings:
        if self.kind == "local":
            return self
        if self.kind == "kubernetes" and self.tls.given:
            raise ValueError(
                "the Dask operator starts schedulers without TLS: remove cluster.tls and restrict access by a network "
                "policy, or deploy scheduler and workers with TLS yourself and use kind 'address'"
            )
        if self.kind == "address" and self.address and self.address.startswith("tls://"):
            if not self.tls.given:
                raise ValueError("a tls:// address needs cluster.tls.ca_file, cert_file and key_file")
        elif self.kind == "address" and self.tls.given:
            raise ValueError(f"cluster.tls is set, but the address does not start with tls://: {self.address}")
        elif not self.tls.given and not self.allow_insecure:
            raise ValueError(
                f"kind '{self.kind}' without TLS allows anyone who can connect to the scheduler to run code: set "
                "cluster.tls.ca_file, cert_file and key_file (`enrich-dist cluster certs` creates them), with a "
                "tls:// address for kind 'address'; or, in an isolated network, cluster.allow_insecure: true"
            )
        return self


class FarmSettings(SettingsSection):
    """Retries, timeouts and backup tasks of the chunks."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    min_part_rows: Rows = 1_000
    heartbeat_timeout_seconds: Seconds = 60.0
    straggler_factor: Annotated[float, Field(ge=0, le=1_000)] = 3.0
    straggler_min_seconds: Annotated[float, Field(ge=0, le=MAX_SECONDS)] = 10.0
    progress_interval_seconds: Seconds = 10.0


class MonitoringSettings(SettingsSection):
    """Outputs of metrics for Prometheus, all off by default."""

    address: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    textfile: LocalPath | None = None
    pushgateway: HttpUrl | None = None
    job: Annotated[str, Field(min_length=1)] = "enrich_dist"

    @property
    def given(self) -> bool:
        """Return whether any output is on."""
        return not (self.port is None and self.textfile is None and self.pushgateway is None)

    @field_validator("textfile")
    @classmethod
    def _textfile_is_read_by_node_exporter(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix != ".prom":
            raise ValueError(f"node_exporter reads only files that end in .prom, not '{value.name}'")
        return value


class CheckSettings(SettingsSection):
    """Limits of the drift checks: a warning from ``warn_…``, an error from ``fail_…``."""

    recent_runs: Annotated[int, Field(ge=6, le=1_000)] = 10
    warn_slower_share: Increase = 0.10
    fail_slower_share: Increase = 0.30
    warn_memory_share: Increase = 0.20
    fail_memory_share: Increase = 0.50
    warn_match_rate_points: Annotated[float, Field(gt=0, le=100)] = 1.0
    fail_match_rate_points: Annotated[float, Field(gt=0, le=100)] = 5.0

    @model_validator(mode="after")
    def _check_warn_before_fail(self) -> CheckSettings:
        for name in ("slower_share", "memory_share", "match_rate_points"):
            warn, fail = getattr(self, f"warn_{name}"), getattr(self, f"fail_{name}")
            if warn > fail:
                raise ValueError(f"warn_{name} {warn:g} is above fail_{name} {fail:g}")
        return self


class NotificationSettings(SettingsSection):
    """Notification of operators. URLs contain secrets, so the settings name only their file."""

    urls_file: LocalPath | None = None

    # A validator of the model, because a message about a field would repeat its value.
    @model_validator(mode="after")
    def _check_urls_file(self) -> NotificationSettings:
        if self.urls_file is not None and re.match(r"\w+:/", str(self.urls_file)):
            raise ValueError(
                "urls_file is a URL, and the run history keeps the settings: write the URL into a file that only you "
                "can read, and name this file"
            )
        return self


class ReadinessSettings(SettingsSection):
    """Requirements of the preflight."""

    max_age_hours: Hours = 24.0
    smoke_config: LocalPath = Path("config/sample.yaml")
    max_hours: Hours | None = None
    min_free_gb: Annotated[float, Field(ge=0, le=1_000_000)] = 5.0
    osv_url: HttpUrl | None = None


class RetentionSettings(SettingsSection):
    """How many runs keep their files."""

    keep_runs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class TestingSettings(SettingsSection):
    """Fault injection."""

    __test__ = False  # not a test case for pytest

    fault_probability: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    fault_seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0


class Settings(SettingsSection):
    """All settings of a run. Names contain the unit; 1 MB is 1,000,000 bytes."""

    environment: Literal["development", "production"] = "development"
    inputs: InputSettings = InputSettings()
    paths: PathSettings = PathSettings()
    chunk_size: Rows = 50_000
    memory_threshold_mb: Annotated[int, Field(ge=256, le=100_000_000)] = 1_500
    driver_memory_mb: Annotated[int, Field(ge=512, le=100_000_000)] = 2_000
    match_rate_threshold: Share = 0.70
    fail_fast: bool = False
    min_estimated_precision: Share = 0.95
    max_quarantined_share: Share = 0.001
    timeout_seconds: Seconds = 1_800.0
    cluster: ClusterSettings = ClusterSettings()
    farm: FarmSettings = FarmSettings()
    matching: MatchingSettings = MatchingSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    checks: CheckSettings = CheckSettings()
    performance: PerformanceSettings = PerformanceSettings()
    notifications: NotificationSettings = NotificationSettings()
    readiness: ReadinessSettings = ReadinessSettings()
    retention: RetentionSettings = RetentionSettings()
    testing: TestingSettings = TestingSettings()

    @model_validator(mode="after")
    def _check_fault_injection(self) -> Settings:
        probability = self.testing.fault_probability
        if probability and self.farm.max_attempts < 2:
            raise ValueError(
                f"testing.fault_probability {probability:g} needs farm.max_attempts of at least 2 for retries"
            )
        if probability and self.chunk_size < 2 * self.farm.min_part_rows:
            raise ValueError(
                f"testing.fault_probability {probability:g} needs farm.min_part_rows of at most half of chunk_size to "
                "split chunks"
            )
        return self

    def flat(self) -> dict[str, Any]:
        """Return {dotted key: JSON-ready value}."""
        return flatten(self.model_dump(mode="json"))

    def digest(self) -> str:
        """Return the BLAKE3 digest of all values."""
        return document_digest(self.model_dump(mode="json"))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {dotted key: leaf} of a nested mapping, without empty mappings."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat
