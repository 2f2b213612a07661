"""Tells operators, by the addresses of ``notifications.urls_file``, what ``causes`` finds new in a run that has ended.

Covers the addresses, the sending through apprise (mail, chats, webhooks), and what was told already: it stands in
``notified.json`` of the work directory, which the command line and Dagster's sensor share. Addresses hold secrets: they
are in no message, log, error or file of a run; an address is named by its line and scheme. Whatever goes wrong is a
warning: no run is harmed by it.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from enrich_dist.core.files import read_json, write_json
from enrich_dist.errors import CorruptionError, EnrichError, SettingsError
from enrich_dist.events import Notice, Step, emit
from enrich_dist.monitoring.incidents import START, Cause, Kind, Message, RunOutcome, Severity, compose, new_incidents
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import RunDirectory

# They log addresses, or parts of them, at some level or other.
_TALKATIVE: Final = ("apprise", "requests", "urllib3.connectionpool", "requests_oauthlib.oauth2_session")
_LOCK_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Address:
    """One line of the file."""

    line: int
    url: str = field(repr=False)

    @property
    def shown(self) -> str:
        """What may be shown of it."""
        scheme, separator, _ = self.url.partition("://")
        return f"line {self.line} ({scheme})" if separator and scheme.isalnum() else f"line {self.line}"


@dataclass(frozen=True)
class Delivery:
    """What became of a message at one address."""

    address: Address
    problem: str | None
    """None where it was taken."""


def read_addresses(path: Path) -> list[Address]:
    """The addresses of the file; at least one.

    Raises ``SettingsError`` where it cannot be read, others may read it than its owner (and, of a file of root's, its
    group), or it holds none.
    """
    remedy = "See notifications.urls_file in config/base.yaml."
    try:
        found_stat = path.stat()
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"notifications.urls_file {path} cannot be read: {problem}.", remedy=remedy) from None
    mode = stat.S_IMODE(found_stat.st_mode)
    # A file of root's that comes from a secret store is read by the group, as in a pod: libpq's rule for keys, too.
    brought = found_stat.st_uid == 0 != os.geteuid()
    if mode & (stat.S_IRWXO | (stat.S_IWGRP | stat.S_IXGRP if brought else stat.S_IRWXG)):
        raise SettingsError(
            f"notifications.urls_file {path} holds secrets, but others may use it (mode {mode:o}).",
            remedy=f"chmod 600 {path}",
        )
    lines = enumerate((line.strip() for line in text.splitlines()), start=1)
    found = [Address(number, line) for number, line in lines if line and not line.startswith("#")]
    if not found:
        raise SettingsError(f"notifications.urls_file {path} holds no address.", remedy=remedy)
    return found


def unknown_addresses(addresses: list[Address]) -> list[Address]:
    """Those that apprise does not know as addresses of any service. Nothing is sent."""
    with _silence():
        import apprise

        return [address for address in addresses if not apprise.Apprise().add(address.url)]


def send(addresses: list[Address], message: Message) -> list[Delivery]:
    """Send the message to every address, one after the other; each gives up after some seconds."""
    return [Delivery(address, _send(address, message)) for address in addresses]


def tell(settings: Settings, story: RunOutcome) -> Message | None:
    """Send what is new in the story, and remember it as told when any address has taken it.

    Nothing is done without ``notifications.urls_file``, nor for a story that is older than the last one told: both the
    command line and Dagster's sensor may come with it. Never raises; what goes wrong is a warning. Returns the message,
    None where there was none.
    """
    if settings.notifications.urls_file is None:
        return None
    try:
        return _tell(settings, settings.notifications.urls_file, story)
    except Exception as error:  # noqa: BLE001  # see above; the text of a foreign error could hold an address
        problem = str(error) if isinstance(error, EnrichError) else type(error).__name__
        emit(Notice(f"Nobody could be notified: {problem}", warning=True))
        return None


@contextmanager
def notifying_failures(settings: Settings) -> Iterator[None]:
    """Tell a failure of the body, in which a run has not got as far as to begin."""
    try:
        yield
    except Exception as error:
        cause = Cause(Kind.FAILED, START, str(error), error=type(error).__name__)
        tell(settings, RunOutcome(None, time.time(), (cause,)))
        raise


def trial(settings: Settings) -> list[Delivery]:
    """Send a test message.

    Raises ``SettingsError`` without usable addresses.
    """
    if settings.notifications.urls_file is None:
        raise SettingsError(
            "notifications.urls_file is not set, so nobody is notified.",
            remedy="Write addresses into a file, one a line, and name it: --set notifications.urls_file=FILE",
        )
    body = "This is a test: a blocked result, a failed run or a regression would be told here."
    addresses = read_addresses(settings.notifications.urls_file)
    return send(addresses, Message(None, Severity.WARN, "enrich_dist test", body))


def _tell(settings: Settings, urls_file: Path, story: RunOutcome) -> Message | None:
    directory = RunDirectory(settings.paths.work_dir)
    directory.root.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.notified.with_suffix(".lock"), timeout=_LOCK_SECONDS):
        active, told_until_seconds = _read_state(directory.notified)
        if story.ended_seconds <= told_until_seconds:
            return None
        fresh, now_active = new_incidents(story, active)
        message = None
        if fresh:
            has_report = (
                story.run_id is not None and directory.html_report.exists() and _judged(directory, story.run_id)
            )
            report = str(directory.html_report) if has_report else None
            message = compose(story, fresh, where=str(directory.root), report=report)
            deliveries = send(read_addresses(urls_file), message)
            for delivery in deliveries:
                if delivery.problem:
                    text = (
                        f"A notification could not be sent: {urls_file}, {delivery.address.shown}: {delivery.problem}."
                    )
                    emit(Notice(text, warning=True))
            if all(delivery.problem for delivery in deliveries):
                # Told to nobody: the next run with the same cause tries again.
                told = {cause.key: active[cause.key] for cause in fresh if cause.key in active}
                keys = {cause.key for cause in fresh}
                now_active = told | {key: grade for key, grade in now_active.items() if key not in keys}
        write_json(directory.notified, {"active": now_active, "told_until_seconds": story.ended_seconds})
        return message


def _judged(directory: RunDirectory, run_id: str) -> bool:
    judged = directory.all_latest().get(Step.ENRICHED_AWARDS)
    return judged is not None and judged.run_id == run_id


def _read_state(path: Path) -> tuple[dict[str, int], float]:
    """Active causes and when the last story ended; of a file that cannot be read nothing was told."""
    try:
        document: Mapping[str, Any] = read_json(path)
        active = {str(key): int(grade) for key, grade in dict(document["active"]).items()}
        return active, float(document["told_until_seconds"])
    except (OSError, CorruptionError, KeyError, TypeError, ValueError):
        return {}, 0.0


def _send(address: Address, message: Message) -> str | None:
    with _silence():
        try:
            import apprise  # a third of a second, which only a run with something to tell pays

            kind = apprise.NotifyType.WARNING if message.grade is Severity.WARN else apprise.NotifyType.FAILURE
            if message.kind is None:
                kind = apprise.NotifyType.INFO
            sender = apprise.Apprise()
            if not sender.add(address.url):
                return "it is no address that apprise knows"
            taken = sender.notify(message.body, title=message.title, notify_type=kind, body_format="text")
        except Exception as error:  # noqa: BLE001  # plugins for a hundred services; their texts may hold the address
            return f"{type(error).__name__} in the service's plugin"
    return None if taken else "nobody answers there, or it was refused"


@contextmanager
def _silence() -> Iterator[None]:
    with ExitStack() as stack:
        for name in _TALKATIVE:
            logger = logging.getLogger(name)
            stack.callback(setattr, logger, "disabled", logger.disabled)
            logger.disabled = True
        yield
