"""Do figures and alerts find somebody?"""

from __future__ import annotations

import socket
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Fact, Outcome, failed, passed, warning

_SECONDS: Final = 5.0


def monitoring(context: PreflightContext) -> Outcome:
    """Try every way that ``monitoring`` names."""
    ways = context.settings.monitoring
    if not ways.given:
        return warning(
            "Nothing is monitored: none of monitoring.port, textfile and pushgateway is set.",
            remedy="See docs/how-to/monitor.md.",
        )
    tried: dict[str, str | None] = {}
    if ways.port is not None:
        tried[f"port {ways.address}:{ways.port}"] = _port_problem(ways.address, ways.port)
    if ways.textfile is not None:
        tried[f"textfile {ways.textfile}"] = _folder_problem(ways.textfile.absolute().parent)
    if ways.pushgateway is not None:
        tried[f"pushgateway {ways.pushgateway}"] = _pushgateway_problem(ways.pushgateway)
    problems = [f"{way}: {problem}" for way, problem in tried.items() if problem]
    if problems:
        return failed("; ".join(problems) + ".", {"ways": len(tried), "unreachable": len(problems)})
    return passed(f"Usable: {', '.join(tried)}.", {"ways": len(tried), "unreachable": 0})


def _port_problem(address: str, port: int) -> str | None:
    try:
        with socket.create_server((address, port)):
            return None
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)


def _folder_problem(folder: Path) -> str | None:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"{error.strerror or error} ({folder})"


def _pushgateway_problem(address: str) -> str | None:
    try:
        # Both it and Prometheus answer there; nothing is pushed.
        with urllib.request.urlopen(f"{address.rstrip('/')}/-/ready", timeout=_SECONDS) as answer:
            return None if answer.status == 200 else f"it answers {answer.status}"
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def alert_destination(context: PreflightContext) -> Outcome:
    """Whether there are addresses, of services that are known; with ``send_test_notification`` whether each takes a
    message."""
    from enrich_dist.errors import SettingsError
    from enrich_dist.monitoring.notify import read_addresses, send_test_message, unknown_addresses

    urls_file = context.settings.notifications.urls_file
    if urls_file is None:
        return failed("notifications.urls_file is not set, so nobody is told of a run that fails or is blocked.")
    try:
        addresses = read_addresses(urls_file)
    except SettingsError as error:
        return failed(error.message, remedy=error.remedy)
    facts: dict[str, Fact] = {"addresses": len(addresses)}
    if strange := unknown_addresses(addresses):
        shown = ", ".join(address.label for address in strange)
        return failed(f"{urls_file}: {shown} is no address that apprise knows.", facts)
    if not context.send_test_notification:
        return warning(
            f"{len(addresses)} address{'es' if len(addresses) > 1 else ''} in {urls_file}; whether anybody answers was "
            "not tried.",
            remedy="Try them: --send-test-notification",
            facts=facts | {"tried": False},
        )
    refused = [item for item in send_test_message(context.settings) if item.problem]
    if refused:
        told = "; ".join(f"{item.address.label}: {item.problem}" for item in refused)
        return failed(f"{urls_file}: {told}.", facts | {"tried": True, "refused": len(refused)})
    return passed(f"Each of {len(addresses)} in {urls_file} took the test message.", facts | {"tried": True})
