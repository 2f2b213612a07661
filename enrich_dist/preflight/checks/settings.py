"""Are the settings valid and safe, and is what is installed free of known holes?"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Fact, Outcome, failed, passed, unknown, warning
from enrich_dist.settings import Settings, flatten

# Settings that decide what is published, and which way is laxer than the default.
_THRESHOLDS: Final = {
    "match_rate_threshold": -1,
    "min_estimated_precision": -1,
    "max_quarantined_share": 1,
    "matching.accept_probability": -1,
}


def settings_valid(context: PreflightContext) -> Outcome:
    """What loading the settings could not see: files, columns, packages."""
    from enrich_dist.cluster.kinds import check_cluster
    from enrich_dist.errors import EnrichError
    from enrich_dist.pipeline.min_memory import require_min_memory
    from enrich_dist.sources.inputs import check_inputs

    settings = context.settings
    problems: list[str] = []
    for check in (lambda: check_inputs(settings.inputs), lambda: require_min_memory(settings),
                  lambda: check_cluster(settings)):  # fmt: skip
        try:
            check()
        except EnrichError as error:
            problems.append(str(error))
    if problems:
        return failed(" ".join(problems), {"problems": len(problems)})
    changed = sum(origin != "default" for origin in context.loaded.origins.values())
    return passed(
        "Both inputs can be read and have their columns, and nothing is missing that cluster.kind "
        f"'{settings.cluster.kind}' needs.",
        {"settings_given": changed},
    )


def no_insecure_override(context: PreflightContext) -> Outcome:
    """Settings that are for tests, and those that loosen what the product promises, each with where it was set."""
    settings, origins = context.settings, context.loaded.origins

    def told(key: str, text: str) -> str:
        return f"{text} ({origins.get(key, 'default')})"

    wrong: list[str] = []
    if settings.cluster.allow_insecure:
        wrong.append(told("cluster.allow_insecure", "cluster.allow_insecure lets the cluster work without TLS"))
    if settings.testing.fault_probability:
        wrong.append(
            told("testing.fault_probability", f"testing.fault_probability is {settings.testing.fault_probability:g}")
        )
    loose = [told(key, text) for key, text in _laxer(settings) + _unencrypted(settings)]
    facts: dict[str, Fact] = {"insecure": len(wrong), "loosened": len(loose)}
    if wrong:
        return failed("; ".join(wrong + loose) + ".", facts=facts)
    if loose:
        return warning("; ".join(loose) + ".", remedy="Leave it so only where it is meant.", facts=facts)
    return passed("No faults on purpose, no cluster without TLS, and thresholds are those of the product.", facts=facts)


def _laxer(settings: Settings) -> list[tuple[str, str]]:
    """Thresholds laxer than the defaults, which are those of config/base.yaml."""
    values, usual = (flatten(item.model_dump(mode="json")) for item in (settings, Settings()))
    return [
        (key, f"{key} is {values[key]:g}, laxer than {usual[key]:g}")
        for key, laxer in _THRESHOLDS.items()
        if laxer * values[key] > laxer * usual[key]
    ]


def _unencrypted(settings: Settings) -> list[tuple[str, str]]:
    """What goes over a network in the clear, or can be read there by anybody."""
    monitoring, found = settings.monitoring, []
    if monitoring.pushgateway is not None and _beyond_this_machine(monitoring.pushgateway):
        found.append(("monitoring.pushgateway", "monitoring.pushgateway is http beyond this machine"))
    if monitoring.port is not None and not _is_loopback(monitoring.address):
        found.append(("monitoring.address", f"monitoring.address {monitoring.address} lets others read the figures"))
    location = settings.paths.checkpoints
    if location is not None and "://" in location and dict(parse_qsl(urlsplit(location).query)).get("scheme") == "http":
        found.append(("paths.checkpoints", "paths.checkpoints has scheme=http"))
    return found


def _beyond_this_machine(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "http" and not _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def vulnerabilities(context: PreflightContext) -> Outcome:
    """What pip-audit finds in all that is installed here."""
    from enrich_dist.preflight.audit import audit

    found = audit(context.scratch("audit-"), osv_url=context.settings.readiness.osv_url)
    facts: dict[str, Fact] = {
        "packages": found.packages,
        "audited": found.audited,
        "vulnerabilities": len(found.vulnerabilities),
    }
    if found.problem is not None:
        return unknown(found.problem, remedy=found.remedy, facts=facts)
    missing = found.packages - found.audited
    rest = f" {missing:,} of {found.packages:,} packages are not known to the database." if missing else ""
    if found.vulnerabilities:
        return failed(f"{len(found.vulnerabilities)} known: {'; '.join(found.vulnerabilities)}.{rest}", facts=facts)
    if missing:
        return warning(
            f"None is known of {found.audited:,} packages.{rest}",
            remedy="Look them up where they come from.",
            facts=facts,
        )
    return passed(f"None is known of {found.audited:,} packages.", facts=facts)
