"""Notify operators of new incidents, at the addresses in ``notifications.urls_file``, through apprise.

``notified.json`` in the work directory records active incidents; the command line and Dagster's sensor share it.
Addresses contain secrets: no message, log, error or file of a run contains them; an address is named by its line and
scheme. A notification that fails is a warning and does not affect the run.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from enrich_dist.core.files import read_json, read_text, write_json
from enrich_dist.errors import CorruptionError, EnrichError, SettingsError
from enrich_dist.events import Notice, Step, emit
from enrich_dist.monitoring.incidents import (
    START,
    Incident,
    IncidentKind,
    Message,
    RunOutcome,
    Severity,
    compose_message,
    new_incidents,
)
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import RunDirectory

# These loggers may log addresses or parts of them.
_LOGGERS: Final = ("apprise", "requests", "urllib3.connectionpool", "requests_oauthlib.oauth2_session")
_LOCK_SECONDS: Final = 30.0
_MAX_BYTES: Final = 100_000


@dataclass(frozen=True)
class Address:
    """One line of the address file."""

    line: int
    url: str = field(repr=False)

    @property
    def label(self) -> str:
        """The line and scheme, which contain no secret."""
        scheme, separator, _ = self.url.partition("://")
        return f"line {self.line} ({scheme})" if separator and scheme.isalnum() else f"line {self.line}"


@dataclass(frozen=True)
class Delivery:
    """The result of sending a message to an address; ``problem`` is None if it was accepted."""

    address: Address
    problem: str | None


def read_addresses(path: Path) -> list[Address]:
    """Read the addresses of a file; at least one.

    Raises ``SettingsError`` when the file cannot be read, has no address, or is accessible to others than its owner. A
    file that root owns may be readable by its group.
    """
    remedy = "See notifications.urls_file in config/base.yaml."
    try:
        status = path.stat()
        text = read_text(path, _MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"notifications.urls_file {path} cannot be read: {problem}.", remedy=remedy) from None
    mode = stat.S_IMODE(status.st_mode)
    # Secrets mounted into a pod are owned by root and read by the group; libpq has the same rule for keys.
    is_mounted = status.st_uid == 0 != os.geteuid()
    if mode & (stat.S_IRWXO | (stat.S_IWGRP | stat.S_IXGRP if is_mounted else stat.S_IRWXG)):
        raise SettingsError(
            f"notifications.urls_file {path} contains secrets, but other users can access it (mode {mode:o}).",
            remedy=f"chmod 600 {path}",
        )
    lines = enumerate((line.strip() for line in text.splitlines()), start=1)
    addresses = [Address(number, line) for number, line in lines if line and not line.startswith("#")]
    if not addresses:
        raise SettingsError(f"notifications.urls_file {path} contains no address.", remedy=remedy)
    return addresses


def unknown_addresses(addresses: list[Address]) -> list[Address]:
    """Return the addresses that apprise cannot parse. Sends nothing."""
    with _silence_loggers():
        import apprise

        return [address for address in addresses if not apprise.Apprise().add(address.url)]


def notify(settings: Settings, outcome: RunOutcome) -> Message | None:
    """Notify operators of the new incidents of a run, and return the message, if any. Never raises.

    Does nothing without ``notifications.urls_file``, or if this run or a later one was handled before, as both the
    command line and Dagster's sensor call it. An incident is recorded as notified if any address accepts the message.
    """
    if settings.notifications.urls_file is None:
        return None
    try:
        return _notify(settings, settings.notifications.urls_file, outcome)
    except Exception as error:  # noqa: BLE001  # the text of errors that are not ours may contain an address
        problem = str(error) if isinstance(error, EnrichError) else type(error).__name__
        emit(Notice(f"Operators could not be notified: {problem}", warning=True))
        return None


@contextmanager
def notify_on_failure(settings: Settings, *, unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Notify operators if the body, which precedes a run, raises; ``unless``: whether the run has started."""
    try:
        yield
    except Exception as error:
        if unless():
            raise
        incident = Incident(IncidentKind.FAILED, START, str(error), error=type(error).__name__)
        notify(settings, RunOutcome(None, time.time(), (incident,)))
        raise


def send_test_message(settings: Settings) -> list[Delivery]:
    """Send a test message to every address.

    Raises ``SettingsError`` without usable addresses.
    """
    if settings.notifications.urls_file is None:
        raise SettingsError(
            "notifications.urls_file is not set, so no operator is notified.",
            remedy="Write one address per line into a file, and set it: --set notifications.urls_file=FILE",
        )
    body = "This is a test. Operators are notified here of blocked results, failed runs and regressions."
    message = Message(None, Severity.WARN, "enrich_dist test", body)
    return [Delivery(address, _send(address, message)) for address in read_addresses(settings.notifications.urls_file)]


def _notify(settings: Settings, urls_file: Path, outcome: RunOutcome) -> Message | None:
    directory = RunDirectory(settings.paths.work_dir)
    directory.root.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.notified.with_suffix(".lock"), timeout=_LOCK_SECONDS):
        active, last_ended_seconds = _read_state(directory.notified)
        if outcome.ended_seconds <= last_ended_seconds:
            return None
        new, now_active = new_incidents(outcome, active)
        message = None
        if new:
            judged = directory.all_latest().get(Step.ENRICHED_AWARDS)
            has_report = judged is not None and judged.run_id == outcome.run_id and directory.html_report.exists()
            report = str(directory.html_report) if has_report else None
            message = compose_message(outcome, new, work_dir=str(directory.root), report=report)
            problems = {address: _send(address, message) for address in read_addresses(urls_file)}
            for address, problem in problems.items():
                if problem:
                    text = f"A notification was not sent ({urls_file}, {address.label}): {problem}."
                    emit(Notice(text, warning=True))
            if all(problems.values()):
                # The next run with the same incident tries to notify again.
                for incident in new:
                    del now_active[incident.key]
                    if incident.key in active:
                        now_active[incident.key] = active[incident.key]
        write_json(directory.notified, {"active": now_active, "last_run_ended_seconds": outcome.ended_seconds})
        return message


def _read_state(path: Path) -> tuple[dict[str, int], float]:
    """Return active incidents and when the last handled run ended; nothing if the file cannot be read."""
    try:
        document: Mapping[str, Any] = read_json(path)
        active = {str(key): int(severity) for key, severity in dict(document["active"]).items()}
        return active, float(document["last_run_ended_seconds"])
    except (OSError, CorruptionError, KeyError, TypeError, ValueError):
        return {}, 0.0


def _send(address: Address, message: Message) -> str | None:
    """Send the message, with a timeout of some seconds; return the problem, or None if it was accepted."""
    with _silence_loggers():
        try:
            import apprise  # takes 0.3 s, which only runs with new incidents need

            failure = "warning" if message.severity is Severity.WARN else "failure"
            kind = apprise.NotifyType("info" if message.kind is None else failure)
            sender = apprise.Apprise()
            if not sender.add(address.url):
                return "apprise does not know this kind of address"
            accepted = sender.notify(message.body, title=message.title, notify_type=kind, body_format="text")
        except Exception as error:  # noqa: BLE001  # error texts of apprise's plugins may contain the address
            return f"{type(error).__name__} in the service's plugin"
    return None if accepted else "the service did not answer or refused the message"


@contextmanager
def _silence_loggers() -> Iterator[None]:
    with ExitStack() as stack:
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            stack.callback(setattr, logger, "disabled", logger.disabled)
            logger.disabled = True
        yield
