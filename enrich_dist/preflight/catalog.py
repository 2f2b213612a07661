"""The one list of what must hold before production: the preflight goes through it, the checklist is written from it.

An item says what is asked, whether runs may begin without it, why it is asked and what helps; how it is found out
stands in ``checks``. Critical is what would make a run fail, publish what nobody should rely on, let strangers in, or
leave nobody told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from enrich_dist.preflight.checks import alerting as exits
from enrich_dist.preflight.checks import quality, resources, settings, workers
from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Outcome


@dataclass(frozen=True)
class Check:
    """``id`` is stable, it names the item in readiness files; ``remedy`` is what helps, in a sentence."""

    id: str
    title: str
    critical: bool
    why: str
    remedy: str
    check: Callable[[PreflightContext], Outcome]


CHECKS: Final = (
    Check(
        "smoke_test", "The smoke test has passed on this revision", True,
        "A small run of the whole job (readiness.smoke_config) by this very code on this machine shows that what is "
        "installed works.",
        "Run the settings file that readiness.smoke_config names by `enrich-dist run` and mend what it tells.",
        quality.smoke_test,
    ),
    Check(
        "last_verdict", "The last verdict has passed", True,
        "The latest result in the work directory shows what production is going to publish. The first one comes from a "
        "rehearsal: the same settings with environment=development.",
        "Run `enrich-dist run --set environment=development` with the same settings until its result passes; or judge "
        "the latest one anew by `enrich-dist rejudge`.",
        quality.last_verdict,
    ),
    Check(
        "baseline", "A baseline is there, and this code is no slower or larger", True,
        "Without a baseline of this machine nobody sees that a new revision takes longer or more memory.",
        "Measure by `enrich-dist bench run` (any settings with the same paths.benchmarks), then `enrich-dist bench "
        "baseline`; a regression is shown by `enrich-dist bench compare`.",
        quality.baseline,
    ),
    Check(
        "settings_valid", "Settings are valid and their inputs can be read", True,
        "A missing column, file or package would end the run before it has begun.",
        "Change the setting that is named.",
        settings.settings_valid,
    ),
    Check(
        "no_insecure_override", "No setting makes the run insecure", True,
        "Faults on purpose and a cluster without TLS are for tests. A lower threshold publishes what the product would "
        "hold back, so it is reported with where it was set.",
        "Remove the setting from where it was set.",
        settings.no_insecure_override,
    ),
    Check(
        "storage", "Storage is writable and has space to spare", True,
        "A disk that is full or read-only stops a run half way.",
        "Make space, or let paths.work_dir and paths.checkpoints name places that can be written to.",
        resources.storage,
    ),
    Check(
        "memory_fits", "The projected memory fits the workers", True,
        "A run whose chunks do not fit memory_threshold_mb is refused, or works in small batches.",
        "Raise memory_threshold_mb, or lower chunk_size; `enrich-dist plan` shows the arithmetic.",
        resources.memory_fits,
    ),
    Check(
        "time_fits", "The projected time fits", True,
        "A run that does not end within readiness.max_hours is late for whoever waits for it.",
        "Give it more workers, or raise readiness.max_hours.",
        resources.time_fits,
    ),
    Check(
        "cluster_reachable", "The cluster is reachable, with TLS", True,
        "Whoever reaches a scheduler without TLS can run code on it and the workers.",
        "Start scheduler and workers with certificates of the CA in cluster.tls.ca_file, and let cluster.address begin "
        "with tls://; `enrich-dist cluster certs` makes some.",
        workers.cluster_reachable,
    ),
    Check(
        "workers", "Workers have the same versions, and read the index", True,
        "A worker of another version may match differently; one that does not see the work directory stops the run.",
        "Install the same enrich_dist with the same requirements on every worker, and let all of them see "
        "paths.work_dir under the same path.",
        workers.workers_alike,
    ),
    Check(
        "monitoring", "Monitoring is reachable", False,
        "Figures that cannot leave are missed when something goes wrong; no run is harmed by it.",
        "Start the Pushgateway, make the directory of monitoring.textfile, or free monitoring.port.",
        exits.monitoring,
    ),
    Check(
        "alert_destination", "An alert finds somebody", True,
        "A run that fails or is blocked at night, and tells nobody, is found by those who miss its result.",
        "Write an address into a file that only you can read and name it in notifications.urls_file; try it with "
        "--send-test-notification.",
        exits.alert_destination,
    ),
    Check(
        "vulnerabilities", "Requirements have no known vulnerabilities", False,
        "Known holes in what is installed are for a person to weigh; new ones become known every week, and would stop "
        "runs from one day to the next.",
        "Install the version that mends it, and run the tests again; pip-audit tells the details.",
        settings.vulnerabilities,
    ),
)  # fmt: skip
