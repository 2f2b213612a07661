"""Whether metrics and alerts reach someone."""

from __future__ import annotations

import socket
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Fact, Outcome, failed, passed, warning

_TIMEOUT_SECONDS: Final = 5.0


def monitoring(context: PreflightContext) -> Outcome:
    """Try every export that ``monitoring`` sets."""
    exports = context.settings.monitoring
    if not exports.given:
        return warning(
            "No monitoring: none of monitoring.port, textfile and pushgateway is set.",
            remedy="See docs/how-to/monitor.md.",
        )
    tried: dict[str, str | None] = {}
    if exports.port is not None:
        tried[f"port {exports.address}:{exports.port}"] = _port_problem(exports.address, exports.port)
    if exports.textfile is not None:
        tried[f"textfile {exports.textfile}"] = _folder_problem(exports.textfile.absolute().parent)
    if exports.pushgateway is not None:
        tried[f"pushgateway {exports.pushgateway}"] = _pushgateway_problem(exports.pushgateway)
    problems = [f"{export}: {problem}" for export, problem in tried.items() if problem]
    facts = {"ways": len(tried), "unreachable": len(problems)}
    return failed("; ".join(problems) + ".", facts) if problems else passed(f"Usable: {', '.join(tried)}.", facts)


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
        # Pushgateway and Prometheus both answer at this path; nothing is pushed.
        with urllib.request.urlopen(f"{address.rstrip('/')}/-/ready", timeout=_TIMEOUT_SECONDS) as answer:
            return None if answer.status == 200 else f"it answers {answer.status}"
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def alert_destination(context: PreflightContext) -> Outcome:
    """Check that apprise knows every address; with ``send_test_notification``, that each takes a message."""
    from enrich_dist.monitoring.notify import read_addresses, send_test_message, unknown_addresses

    urls_file = context.settings.notifications.urls_file
    if urls_file is None:
        return failed("notifications.urls_file is not set, so operators are not notified of failed or blocked runs.")
    addresses = read_addresses(urls_file)
    facts: dict[str, Fact] = {"addresses": len(addresses)}
    if rejected := unknown_addresses(addresses):
        shown = ", ".join(address.label for address in rejected)
        return failed(f"{urls_file}: {shown} is not an address that apprise knows.", facts)
    number = f"{len(addresses)} address{'es' if len(addresses) > 1 else ''}"
    if not context.send_test_notification:
        return warning(
            f"{urls_file} has {number}; they were not tested.",
            facts | {"tried": False},
            remedy="Test them with --send-test-notification.",
        )
    refused = [item for item in send_test_message(context.settings) if item.problem]
    if refused:
        problems = "; ".join(f"{item.address.label}: {item.problem}" for item in refused)
        return failed(f"{urls_file}: {problems}.", facts | {"tried": True, "refused": len(refused)})
    return passed(f"The test message was accepted by {number} in {urls_file}.", facts | {"tried": True})
