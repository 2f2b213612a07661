"""The ordered list of checks: admission, ``config validate``, the preflight and the checklist all use it.

A check has a cheap part, ``settings_checks``, which needs the settings and the files that they name, and a full part,
``run``, which may also need the work directory, a plan or the cluster. A check is critical if without it a run fails,
publishes an unreliable result, exposes the cluster, or fails without notifying anyone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from enrich_dist.preflight.checks import alerting, quality, resources, settings, smoke, vulnerabilities, workers
from enrich_dist.preflight.context import Outcome, PreflightContext


@dataclass(frozen=True)
class Check:
    """``id`` is stable: readiness files use it. ``critical``: whether production runs require it to hold."""

    id: str
    title: str
    critical: bool
    why: str
    remedy: str
    run: Callable[[PreflightContext], Outcome]
    settings_checks: tuple[settings.SettingsCheck, ...] = ()


CHECKS: Final = (
    Check("smoke_test", "The smoke test has passed on this revision", True,
        "A small run of the whole job (readiness.smoke_config) on this machine shows that the installation works.",
        "Run the settings file of readiness.smoke_config with `enrich-dist run`, and fix what it reports.",
        smoke.smoke_test,
    ),
    Check("last_verdict", "The last verdict has passed", True,
        "The latest result in the work directory shows what production will publish. A rehearsal makes the first one.",
        "Rehearse: `enrich-dist run --set environment=development` with the same settings until its result passes, or "
        "judge the latest result again with `enrich-dist rejudge`.",
        quality.last_verdict,
    ),
    Check("baseline", "A baseline exists, and this code is no slower or larger", True,
        "Without a baseline of this machine, nothing shows that a new revision takes more time or memory.",
        "Measure with `enrich-dist bench run` (any settings with the same paths.benchmarks), then run `enrich-dist "
        "bench baseline`. `enrich-dist bench compare` shows a regression.",
        quality.baseline,
    ),
    Check("settings_valid", "Settings are valid and their inputs can be read", True,
        "A missing column, file or package ends the run before it starts.",
        "Change the setting that the message names.",
        settings.settings_valid, settings.VALIDITY,
    ),
    Check("no_insecure_override", "No setting makes the run insecure", True,
        "Injected faults and a cluster without TLS are for tests. A laxer threshold publishes what the default blocks.",
        "Remove the setting at its origin.",
        settings.no_insecure_override, settings.SECURITY,
    ),
    Check("storage", "Storage is writable and has space to spare", True,
        "A full or read-only disk stops a run halfway. A file system without locks or symbolic links cannot hold one.",
        "Free space, or set paths.work_dir and paths.checkpoints to writable locations.",
        resources.storage, settings.STORAGE,
    ),
    Check("memory_fits", "The projected memory fits the workers", True,
        "A run whose chunks do not fit memory_threshold_mb is refused, or works in small batches.",
        "Raise memory_threshold_mb, or lower chunk_size; `enrich-dist plan` shows the arithmetic.",
        resources.memory_fits,
    ),
    Check("time_fits", "The projected time fits", True,
        "A run that takes longer than readiness.max_hours delivers too late.",
        "Add workers, or raise readiness.max_hours.",
        resources.time_fits,
    ),
    Check("cluster_reachable", "The cluster is reachable, with TLS", True,
        "Without TLS, anyone who reaches the scheduler can run code on it and on its workers.",
        "Start scheduler and workers with certificates of the CA in cluster.tls.ca_file, and use a tls:// address in "
        "cluster.address. `enrich-dist cluster certs` makes certificates.",
        workers.cluster_reachable,
    ),
    Check("workers", "Workers have the same versions, and read the index", True,
        "A worker of another version may match differently; one that does not see the work directory stops the run.",
        "Install the same enrich_dist and requirements on all workers, and mount paths.work_dir under the same path.",
        workers.workers_alike,
    ),
    Check("monitoring", "Monitoring is reachable", False,
        "Metrics that are not exported are missing when something fails; they do not harm a run.",
        "Start the Pushgateway, create the directory of monitoring.textfile, or free monitoring.port.",
        alerting.monitoring,
    ),
    Check("alert_destination", "Alerts reach an operator", True,
        "A run that fails or is blocked at night goes unnoticed without a notification.",
        "Set notifications.urls_file to a file of addresses that only you can read. Test it: --send-test-notification.",
        alerting.alert_destination, settings.ALERTS,
    ),
    Check("vulnerabilities", "Requirements have no known vulnerabilities", False,
        "Known vulnerabilities need a human decision. New ones appear every week, and would stop runs unexpectedly.",
        "Install the fixed version and run the tests again; pip-audit shows the details.",
        vulnerabilities.vulnerabilities,
    ),
)  # fmt: skip
