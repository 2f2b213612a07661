"""Sending notifications to real HTTP and SMTP servers: recorded once, without secrets, and harmless to runs."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from email import message_from_string, policy
from pathlib import Path

import pytest

from enrich_dist.errors import SettingsError, SourceError
from enrich_dist.events import Event, Notice, listening
from enrich_dist.monitoring.incidents import Incident, IncidentKind, RunOutcome, Severity
from enrich_dist.monitoring.notify import notify, notify_on_failure, read_addresses, send_test_message
from enrich_dist.settings import Settings, load_settings
from tests.conftest import enrich_dist, free_port
from tests.support.listener import Listener, listening_for_mail, listening_for_posts, write_urls
from tests.support.outcomes import BLOCKED, BLOCKED_OUTCOME, blocked, good, outcome

CANARY = "canary5d1c2"


@pytest.fixture(scope="module")
def server() -> Iterator[Listener]:
    with listening_for_posts() as started:
        yield started


@pytest.fixture
def listener(server: Listener) -> Listener:
    server.posts.clear()
    server.paths.clear()
    server.status = 200
    return server


def unused_address() -> str:
    """Return an address with a secret, at which no server listens."""
    return f"json://user:{CANARY}@127.0.0.1:{free_port()}/{CANARY}"


def settings(tmp_path: Path, *lines: str) -> Settings:
    urls = write_urls(tmp_path / "secret" / "urls", *lines)
    return load_settings(None, [f"notifications.urls_file={urls}", f"paths.work_dir={tmp_path / 'work'}"], {}).settings


@pytest.mark.setting("notifications.urls_file")
def test_new_incident_is_posted_once(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, "# comment", "", listener.url())

    first = notify(chosen, blocked(at=1))
    again = notify(chosen, blocked(at=2))
    [post] = listener.taken()
    notify(chosen, good(at=3))
    notify(chosen, blocked(at=4))

    assert first is not None
    assert again is None
    assert (post["title"], post["type"]) == ("enrich_dist blocked: match_rate", "failure")
    assert post["message"] == first.body
    assert len(listener.taken()) == 1


def test_chat_and_mail_receive_the_message(tmp_path: Path, listener: Listener) -> None:
    token = "a" * 26
    with listening_for_mail() as (port, mails):
        chosen = settings(
            tmp_path,
            f"mmost://127.0.0.1:{listener.port}/{token}",  # Mattermost
            f"mailto://127.0.0.1:{port}?from=run@example.org&to=operator@example.org&mode=insecure&format=text",
        )
        message = notify(chosen, BLOCKED_OUTCOME)

    assert message is not None
    assert listener.paths == [f"/hooks/{token}"]
    [post] = listener.taken()
    assert message.body in post["text"]
    [mail] = [message_from_string(text, policy=policy.default) for text in mails]
    assert mail["Subject"] == message.title
    assert mail["To"] == "operator@example.org"
    text = mail.get_body(("plain",)).get_content()
    assert BLOCKED.reason in " ".join(text.split())


def test_warning_is_sent_as_warning(tmp_path: Path, listener: Listener) -> None:
    slow = Incident(IncidentKind.REGRESSION, "run_seconds", "15% longer", Severity.WARN)
    notify(settings(tmp_path, listener.url()), outcome(slow))

    assert [post["type"] for post in listener.taken()] == ["warning"]


def test_earlier_run_is_ignored(tmp_path: Path, listener: Listener) -> None:
    """The command line and the sensor both report a run, the sensor a little later."""
    chosen = settings(tmp_path, listener.url())
    notify(chosen, blocked(at=10.2))
    notify(chosen, good(at=20))
    listener.taken()

    assert notify(chosen, blocked(at=10)) is None
    assert listener.taken() == []


def test_notifications_are_off_by_default(tmp_path: Path) -> None:
    chosen = load_settings(None, [f"paths.work_dir={tmp_path / 'work'}"], {}).settings

    assert notify(chosen, BLOCKED_OUTCOME) is None
    assert not (tmp_path / "work").exists()


def warnings_of(chosen: Settings, item: RunOutcome) -> list[str]:
    seen: list[Event] = []
    with listening(seen.append):
        notify(chosen, item)
    return [event.message for event in seen if isinstance(event, Notice) and event.warning]


def test_failed_notification_is_sent_again(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, unused_address())

    [warning] = warnings_of(chosen, blocked(at=1))

    assert "line 1 (json)" in warning
    assert CANARY not in warning
    write_urls(tmp_path / "secret" / "urls", listener.url())
    assert warnings_of(chosen, blocked(at=2)) == []
    assert len(listener.taken()) == 1


def test_one_accepting_address_is_enough(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, unused_address(), "no address at all", listener.url())

    warnings = warnings_of(chosen, blocked(at=1))
    again = warnings_of(chosen, blocked(at=2))

    assert [f"line {number}" in warning for number, warning in enumerate(warnings, start=1)] == [True, True]
    assert again == []
    assert len(listener.taken()) == 1


def test_refused_message_is_a_warning(tmp_path: Path, listener: Listener) -> None:
    listener.status = 500

    assert len(warnings_of(settings(tmp_path, listener.url()), BLOCKED_OUTCOME)) == 1


def test_unwritable_work_directory_is_a_warning(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, listener.url())
    (tmp_path / "work").write_text("a file", "utf-8")

    [warning] = warnings_of(chosen, BLOCKED_OUTCOME)

    assert warning.endswith("FileExistsError")


def test_damaged_state_file_is_ignored(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, listener.url())
    state = tmp_path / "work" / "notified.json"
    notify(chosen, blocked(at=1))
    state.write_text('{"active": [', "utf-8")

    notify(chosen, blocked(at=2))

    assert len(listener.taken()) == 2
    assert json.loads(state.read_text("utf-8"))["active"] == {BLOCKED.key: int(Severity.ERROR)}


def test_no_log_contains_an_address(tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    chosen = settings(tmp_path, listener.url(CANARY), unused_address(), f"nope://{CANARY}")
    with caplog.at_level(logging.DEBUG):
        warnings = warnings_of(chosen, BLOCKED_OUTCOME)

    assert len(warnings) == 2
    assert listener.paths == [f"/{CANARY}"]
    assert CANARY not in caplog.text + "".join(warnings)
    assert CANARY not in (tmp_path / "work" / "notified.json").read_text("utf-8")
    assert CANARY not in repr(read_addresses(tmp_path / "secret" / "urls"))


def test_failure_before_a_run_is_notified(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, listener.url())

    for _ in range(2):
        with pytest.raises(SourceError), notify_on_failure(chosen):
            raise SourceError("is missing.", path="awards.csv", remedy="Check inputs.awards.")

    [post] = listener.taken()
    assert post["title"] == "enrich_dist failed: start"
    assert "- start: SourceError: awards.csv: is missing. Check inputs.awards." in post["message"]
    assert "Run:" not in post["message"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_readable_address_file_is_refused(tmp_path: Path, mode: int) -> None:
    urls = write_urls(tmp_path / "urls", f"json://{CANARY}")
    urls.chmod(mode)

    with pytest.raises(SettingsError, match="chmod 600") as raised:
        read_addresses(urls)

    assert CANARY not in str(raised.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root creates files that root owns")
@pytest.mark.parametrize(("mode", "is_accepted"), [(0o440, True), (0o640, True), (0o660, False), (0o644, False)])
def test_group_may_read_mounted_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_accepted: bool
) -> None:
    urls = write_urls(tmp_path / "urls", f"json://{CANARY}")
    urls.chmod(mode)
    monkeypatch.setattr(os, "geteuid", lambda: 10001)

    if is_accepted:
        assert [address.url for address in read_addresses(urls)] == [f"json://{CANARY}"]
        return
    with pytest.raises(SettingsError, match="chmod 600"):
        read_addresses(urls)


@pytest.mark.parametrize(("content", "message"), [(b"# comment\n", "no address"), (b"\xff\xfe", "UTF-8")])
def test_unusable_address_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    urls = write_urls(tmp_path / "urls")
    urls.write_bytes(content)

    with pytest.raises(SettingsError, match=message):
        read_addresses(urls)
    with pytest.raises(SettingsError, match="No such file"):
        read_addresses(tmp_path / "nowhere")


@pytest.mark.parametrize("value", [f"json://host/{CANARY}", f"slack://{CANARY}/b/c", f"mailto://u:{CANARY}@host"])
@pytest.mark.parametrize("origin", ["command line", "environment", "file"])
def test_address_in_settings_is_refused(tmp_path: Path, value: str, origin: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"notifications: {{urls_file: '{value}'}}\n" if origin == "file" else "", "utf-8")
    overrides = [f"notifications.urls_file={value}"] if origin == "command line" else []
    environment = {"ENRICH_DIST_NOTIFICATIONS__URLS_FILE": value} if origin == "environment" else {}

    with pytest.raises(SettingsError, match="urls_file is a URL") as raised:
        load_settings(file, overrides, environment)

    assert CANARY not in str(raised.value)


def test_notify_test_command(tmp_path: Path, listener: Listener) -> None:
    urls = write_urls(tmp_path / "urls", listener.url(CANARY), unused_address())

    some = enrich_dist("notify", "test", "--set", f"notifications.urls_file={urls}")
    write_urls(urls, listener.url(CANARY))
    every = enrich_dist("notify", "test", "--set", f"notifications.urls_file={urls}")
    without = enrich_dist("notify", "test")

    assert (some.returncode, every.returncode, without.returncode) == (1, 0, 2)
    sent, refused = some.stdout.splitlines()
    assert sent == "line 1 (json): sent"
    assert refused.startswith("line 2 (json): not sent: ")
    assert CANARY not in some.stdout + some.stderr + every.stdout
    assert [post["title"] for post in listener.taken()] == ["enrich_dist test"] * 2


def test_test_message_needs_addresses() -> None:
    with pytest.raises(SettingsError, match="urls_file"):
        send_test_message(Settings())
