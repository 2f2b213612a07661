"""Whether metrics and alerts reach someone."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final
from urllib.error import HTTPError
from urllib.request import urlopen

from enrich_dist.core.tables import counted
from enrich_dist.preflight.context import Fact, Outcome, PreflightContext, failed, passed, warning

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
        address = (exports.address, exports.port)
        tried[f"port {exports.address}:{exports.port}"] = _problem(lambda: socket.create_server(address))
    if exports.textfile is not None:
        folder = exports.textfile.absolute().parent
        tried[f"textfile {exports.textfile}"] = _problem(lambda: tempfile.TemporaryDirectory(dir=folder))
    if exports.pushgateway is not None:
        # Pushgateway and Prometheus both answer at this path; nothing is pushed.
        url = f"{exports.pushgateway.rstrip('/')}/-/ready"
        tried[f"pushgateway {exports.pushgateway}"] = _problem(lambda: urlopen(url, timeout=_TIMEOUT_SECONDS))
    problems = [f"{export}: {problem}" for export, problem in tried.items() if problem]
    facts = {"ways": len(tried), "unreachable": len(problems)}
    return failed("; ".join(problems) + ".", facts) if problems else passed(f"Usable: {', '.join(tried)}.", facts)


def _problem(open_export: Callable[[], AbstractContextManager[object]]) -> str | None:
    """Open and close the export; return why that failed, None if it did not."""
    try:
        with open_export() as opened:
            status = getattr(opened, "status", 200)
            return None if status == 200 else f"it answers {status}"
    except HTTPError as error:
        return f"it answers {error.code}"
    except (OSError, OverflowError, ValueError) as error:
        return getattr(error, "strerror", None) or str(getattr(error, "reason", error))


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
    number = counted(len(addresses), "address", "addresses")
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
