"""Whether the settings are usable and secure.

``catalog`` assigns the groups of ``SettingsCheck`` to checks.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from enrich_dist.errors import EnrichError, SettingsError
from enrich_dist.preflight.checks.file_system import check_file_systems
from enrich_dist.preflight.context import Outcome, PreflightContext, passed, warning
from enrich_dist.settings import Settings

# Settings that decide what is published, and in which direction a value is laxer than the default.
_THRESHOLDS: Final = {
    "match_rate_threshold": -1,
    "min_estimated_precision": -1,
    "max_quarantined_share": 1,
    "matching.accept_probability": -1,
}


@dataclass(frozen=True)
class SettingsCheck:
    """The cheap part of a check: it reads settings and the files that these name. ``run`` raises ``EnrichError``.

    ``refuses_run``: whether the error refuses a run; ``warning``: errors that ``config validate`` shows as warnings.
    """

    run: Callable[[Settings], object]
    refuses_run: bool = True
    warning: type[EnrichError] | tuple[()] = ()


def _check_min_memory(settings: Settings) -> None:
    from enrich_dist.pipeline.tasks import require_min_memory  # imports much: bad inputs are reported before

    require_min_memory(settings)


def _check_cluster(settings: Settings) -> None:
    try:
        import dask  # noqa: F401  # reads the configuration files of this machine
    except ValueError as error:
        raise SettingsError(
            " ".join(str(error).split()), remedy="Correct it, or set DASK_CONFIG to another directory."
        ) from error
    if settings.cluster.kind != "local" or settings.cluster.tls.given:
        from enrich_dist.cluster.kinds import check_cluster

        check_cluster(settings)


def _check_tls(settings: Settings) -> None:
    if settings.cluster.allow_insecure:
        raise SettingsError(
            "cluster.allow_insecure is true. Without TLS, anyone who reaches the scheduler can run code on it and on "
            "its workers."
        )


def _check_injected_faults(settings: Settings) -> None:
    if settings.testing.fault_probability:
        raise SettingsError(
            f"testing.fault_probability is {settings.testing.fault_probability:g}. Attempts fail and workers are "
            "killed on purpose; set it to 0 for real work."
        )


def _check_directories(settings: Settings) -> None:
    """Check that the other directories that a run writes to can be created and written."""
    textfile = settings.monitoring.textfile
    for key, path in (
        ("paths.benchmarks", settings.paths.benchmarks),
        ("monitoring.textfile", textfile and textfile.parent),
    ):
        if path is None:
            continue
        existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
        if not existing.is_dir():
            raise SettingsError(f"{key}: {existing} is not a directory.", remedy="Set it to a directory.")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise SettingsError(f"{key}: {existing} is not writable.", remedy="Set it to a writable directory.")


def _check_checkpoint_location(settings: Settings) -> None:
    if settings.paths.checkpoints is not None:
        from enrich_dist.store.checkpoints import CheckpointStore

        CheckpointStore(settings.paths.checkpoints).check()


def check_notification_addresses(settings: Settings) -> None:
    """Raise ``SettingsError`` if the file of ``notifications.urls_file`` is not usable."""
    if settings.notifications.urls_file is not None:
        from enrich_dist.monitoring.notify import read_addresses

        read_addresses(settings.notifications.urls_file)


def _check_inputs(settings: Settings) -> None:
    from enrich_dist.sources.inputs import check_inputs  # imports DuckDB and Arrow

    check_inputs(settings.inputs)


# A settings file may leave the inputs to the command line.
VALIDITY: Final = (
    SettingsCheck(_check_inputs, warning=SettingsError),
    SettingsCheck(_check_min_memory),
    SettingsCheck(_check_cluster),
)
SECURITY: Final = tuple(
    SettingsCheck(check, refuses_run=False, warning=SettingsError) for check in (_check_tls, _check_injected_faults)
)
STORAGE: Final = (
    SettingsCheck(_check_directories, refuses_run=False),
    SettingsCheck(check_file_systems),
    SettingsCheck(_check_checkpoint_location),
)
ALERTS: Final = (SettingsCheck(check_notification_addresses),)


def settings_valid(context: PreflightContext) -> Outcome:
    """Report that the cheap checks of this item raised nothing."""
    given = sum(origin != "default" for origin in context.loaded.origins.values())
    text = "Both inputs are readable and have their columns, and everything that cluster.kind '{}' needs is installed."
    return passed(text.format(context.settings.cluster.kind), {"settings_given": given})


def no_insecure_override(context: PreflightContext) -> Outcome:
    """Find thresholds laxer than the defaults, and unencrypted connections, each with its origin."""
    found = _lax_thresholds(context.settings) + _unencrypted(context.settings)
    lax = [f"{text} ({context.loaded.origins.get(key, 'default')})" for key, text in found]
    facts = {"insecure": 0, "loosened": len(lax)}
    if lax:
        return warning("; ".join(lax) + ".", facts, remedy="Keep it only if it is intended.")
    return passed("No injected faults, no cluster without TLS, and no threshold laxer than the default.", facts)


def _lax_thresholds(settings: Settings) -> list[tuple[str, str]]:
    """Compare thresholds with the defaults, which are those of config/base.yaml."""
    values, defaults = (item.flat() for item in (settings, Settings()))
    return [
        (key, f"{key} is {values[key]:g}, laxer than {defaults[key]:g}")
        for key, direction in _THRESHOLDS.items()
        if direction * values[key] > direction * defaults[key]
    ]


def _unencrypted(settings: Settings) -> list[tuple[str, str]]:
    """Find what crosses a network unencrypted, or is readable there without authentication."""
    monitoring, found = settings.monitoring, []
    gateway = urlsplit(monitoring.pushgateway or "")
    if gateway.scheme == "http" and not _is_loopback(gateway.hostname or ""):
        found.append(("monitoring.pushgateway", "monitoring.pushgateway uses http beyond this machine"))
    if monitoring.port is not None and not _is_loopback(monitoring.address):
        text = f"monitoring.address {monitoring.address} exposes metrics to other machines"
        found.append(("monitoring.address", text))
    checkpoints = urlsplit(settings.paths.checkpoints or "")
    if checkpoints.scheme and "http" in parse_qs(checkpoints.query).get("scheme", []):
        found.append(("paths.checkpoints", "paths.checkpoints has scheme=http"))
    return found


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False
