"""Causes are told once each; the sending harms no run and shows no address. With a real HTTP listener."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from email import message_from_string, policy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.errors import SettingsError, SourceError
from enrich_dist.events import Event, Notice, listening
from enrich_dist.monitoring.incidents import START, Cause, Kind, RunOutcome, Severity, compose, new_incidents
from enrich_dist.monitoring.notify import notifying_failures, read_addresses, tell, trial
from enrich_dist.settings import Settings, load_settings
from tests.conftest import enrich_dist, free_port
from tests.support.listener import Listener, listening_for_mail, listening_for_posts, write_urls

CANARY = "canary5d1c2"
BLOCKED = Cause(Kind.BLOCKED, "match_rate", "match rate 0.5126, threshold 0.7000")
FAILED = Cause(Kind.FAILED, "chunk_matches", "no worker came", error="FarmError")
SLOW = Cause(Kind.REGRESSION, "run_seconds", "15% longer", Severity.WARN)
VERY_SLOW = Cause(Kind.REGRESSION, "run_seconds", "80% longer", Severity.ERROR)
GOOD = frozenset({"match_rate", "run_seconds"})
STEPS = frozenset({"chunk_matches", "enriched_awards", "published_awards"})


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


def story(*causes: Cause, at: float = 1.0, passed: frozenset[str] = frozenset(), done: frozenset[str] = frozenset(),
          run_id: str | None = "run-1") -> RunOutcome:  # fmt: skip
    return RunOutcome(run_id, at, causes, passed, done)


def told(*stories: RunOutcome) -> list[list[Cause]]:
    """What each of the stories, one after the other, gives to tell."""
    active: dict[str, int] = {}
    found = []
    for item in stories:
        fresh, active = new_incidents(item, active)
        found.append(list(fresh))
    return found


@pytest.mark.parametrize(
    ("stories", "expected"),
    [
        pytest.param([story(BLOCKED)], [[BLOCKED]], id="first"),
        pytest.param([story(BLOCKED), story(BLOCKED)], [[BLOCKED], []], id="again"),
        pytest.param(
            [story(BLOCKED), story(passed=GOOD, done=STEPS), story(BLOCKED)], [[BLOCKED], [], [BLOCKED]], id="resolved"
        ),
        pytest.param([story(BLOCKED), story(FAILED), story(BLOCKED)], [[BLOCKED], [FAILED], []], id="failed-between"),
        pytest.param([story(FAILED), story(FAILED)], [[FAILED], []], id="failed-again"),
        pytest.param([story(FAILED), story(BLOCKED, done=STEPS - {"published_awards"}), story(FAILED)],
                     [[FAILED], [BLOCKED], [FAILED]], id="step-went-well-between"),
        pytest.param([story(SLOW), story(SLOW), story(VERY_SLOW), story(VERY_SLOW)],
                     [[SLOW], [], [VERY_SLOW], []], id="worse"),
        pytest.param([story(VERY_SLOW), story(SLOW), story(SLOW)], [[VERY_SLOW], [], []], id="less-bad-is-no-news"),
        pytest.param([story(SLOW), story(done=STEPS), story(SLOW)], [[SLOW], [], []], id="nothing-to-compare-between"),
        pytest.param([story(BLOCKED), story(BLOCKED, SLOW)], [[BLOCKED], [SLOW]], id="another-joins"),
    ],
)  # fmt: skip
def test_a_cause_is_told_once_until_it_is_gone_or_worse(stories: list[RunOutcome], expected: list[list[Cause]]) -> None:
    assert told(*stories) == expected


def test_another_error_in_the_same_step_is_another_cause_and_the_first_one_is_over() -> None:
    other = Cause(Kind.FAILED, "chunk_matches", "disk full", error="EnvironmentFailureError")

    assert told(story(FAILED), story(other), story(FAILED)) == [[FAILED], [other], [FAILED]]


def test_a_failure_before_the_first_step_is_over_when_a_run_begins_to_work() -> None:
    early = Cause(Kind.FAILED, START, "inputs.awards is not set", error="SourceError")

    assert told(story(early), story(early), story(FAILED, done=frozenset({"sbir_awards"})), story(early)) == [
        [early], [], [FAILED], [early],
    ]  # fmt: skip


@given(st.lists(st.sampled_from(["blocked", "good", "failed", "slow"]), max_size=30))
def test_a_block_is_told_when_the_last_run_that_got_so_far_was_not_blocked(runs: list[str]) -> None:
    whole = {
        "blocked": story(BLOCKED, done=STEPS - {"published_awards"}),
        "good": story(passed=GOOD, done=STEPS),
        "failed": story(FAILED),
        "slow": story(SLOW, passed=frozenset({"match_rate"}), done=STEPS),
    }
    found = told(*(whole[run] for run in runs))

    expected, is_known = [], False
    for run in runs:
        expected.append(run == "blocked" and not is_known)
        is_known = is_known if run == "failed" else run == "blocked"  # a failed run tells nothing of the gate
    assert [BLOCKED in causes for causes in found] == expected


def test_the_message_says_what_why_what_next_and_where() -> None:
    item = story(BLOCKED, SLOW, run_id="0a1b")

    message = compose(item, (BLOCKED, SLOW), where="/data/work", report="/data/work/report.html")

    assert message.title == "enrich_dist blocked: match_rate and 1 more"
    assert message.grade is Severity.ERROR
    lines = message.body.splitlines()
    assert "nothing was published, and what was published before stays" in lines[0]
    assert "- match_rate: match rate 0.5126, threshold 0.7000" in lines
    assert "- run_seconds (warning): 15% longer" in lines
    assert len([line for line in lines if line.startswith("Next: ")]) == 2
    assert lines[-3:] == ["Run: 0a1b", "Work directory: /data/work", "Report: /data/work/report.html"]


def test_what_was_told_before_is_marked_as_such() -> None:
    body = compose(story(BLOCKED, SLOW), (SLOW,), where="w", report=None).body

    assert body.index("- run_seconds") < body.index("Told before, and still so:") < body.index("- match_rate")


def settings(tmp_path: Path, *lines: str) -> Settings:
    urls = write_urls(tmp_path / "secret" / "urls", *lines)
    return load_settings(None, [f"notifications.urls_file={urls}", f"paths.work_dir={tmp_path / 'work'}"], {}).settings


@pytest.mark.setting("notifications.urls_file")
def test_what_is_new_is_posted_and_remembered(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, "# where operators look", "", listener.url())

    first = tell(chosen, story(BLOCKED, at=1))
    again = tell(chosen, story(BLOCKED, at=2))
    [post] = listener.taken()
    tell(chosen, story(passed=GOOD, done=STEPS, at=3))
    tell(chosen, story(BLOCKED, at=4))

    assert first is not None
    assert again is None
    assert (post["title"], post["type"]) == ("enrich_dist blocked: match_rate", "failure")
    assert post["message"] == first.body
    assert len(listener.taken()) == 1


def test_a_chat_and_a_mail_program_get_it_too(tmp_path: Path, listener: Listener) -> None:
    token = "a" * 26
    with listening_for_mail() as (port, mails):
        chosen = settings(
            tmp_path,
            f"mmost://127.0.0.1:{listener.port}/{token}",  # Mattermost
            f"mailto://127.0.0.1:{port}?from=run@example.org&to=operator@example.org&mode=insecure&format=text",
        )
        message = tell(chosen, story(BLOCKED))

    assert message is not None
    assert listener.paths == [f"/hooks/{token}"]
    [post] = listener.taken()
    assert message.body in post["text"]
    [mail] = [message_from_string(text, policy=policy.default) for text in mails]
    assert mail["Subject"] == message.title
    assert mail["To"] == "operator@example.org"
    text = mail.get_body(("plain",)).get_content()
    assert "match rate 0.5126, threshold 0.7000" in " ".join(text.split())


def test_a_warning_is_sent_as_a_warning(tmp_path: Path, listener: Listener) -> None:
    tell(settings(tmp_path, listener.url()), story(SLOW))

    assert [post["type"] for post in listener.taken()] == ["warning"]


def test_a_story_that_comes_twice_or_late_is_not_told(tmp_path: Path, listener: Listener) -> None:
    """The command line and the sensor both come with a run; the sensor a little later."""
    chosen = settings(tmp_path, listener.url())
    tell(chosen, story(BLOCKED, at=10.2))
    tell(chosen, story(passed=GOOD, done=STEPS, at=20))
    listener.taken()

    assert tell(chosen, story(BLOCKED, at=10)) is None
    assert listener.taken() == []


def test_without_an_address_file_nothing_is_done(tmp_path: Path) -> None:
    chosen = load_settings(None, [f"paths.work_dir={tmp_path / 'work'}"], {}).settings

    assert tell(chosen, story(BLOCKED)) is None
    assert not (tmp_path / "work").exists()


def warnings_of(chosen: Settings, item: RunOutcome) -> list[str]:
    seen: list[Event] = []
    with listening(seen.append):
        tell(chosen, item)
    return [event.message for event in seen if isinstance(event, Notice) and event.warning]


def test_an_address_that_nobody_answers_is_a_warning_and_is_tried_again(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, f"json://user:{CANARY}@127.0.0.1:{free_port()}/{CANARY}")

    [warning] = warnings_of(chosen, story(BLOCKED, at=1))

    assert warning.endswith("line 1 (json): nobody answers there, or it was refused.")
    assert CANARY not in warning
    write_urls(tmp_path / "secret" / "urls", listener.url())
    assert warnings_of(chosen, story(BLOCKED, at=2)) == []
    assert len(listener.taken()) == 1


def test_one_address_that_answers_is_enough_to_have_told(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, f"json://127.0.0.1:{free_port()}/", "no address at all", listener.url())

    warnings = warnings_of(chosen, story(BLOCKED, at=1))
    again = warnings_of(chosen, story(BLOCKED, at=2))

    assert ["line 1" in warnings[0], "line 2: it is no address that apprise knows" in warnings[1]] == [True, True]
    assert again == []
    assert len(listener.taken()) == 1


def test_a_refusal_is_a_warning(tmp_path: Path, listener: Listener) -> None:
    listener.status = 500

    [warning] = warnings_of(settings(tmp_path, listener.url()), story(BLOCKED))

    assert "refused" in warning


def test_a_work_directory_that_cannot_be_written_is_a_warning(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, listener.url())
    (tmp_path / "work").write_text("a file", "utf-8")

    [warning] = warnings_of(chosen, story(BLOCKED))

    assert warning == "Nobody could be notified: FileExistsError"


def test_a_damaged_memory_is_as_none(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, listener.url())
    tell(chosen, story(BLOCKED, at=1))
    (tmp_path / "work" / "notified.json").write_text('{"active": [', "utf-8")

    tell(chosen, story(BLOCKED, at=2))

    assert len(listener.taken()) == 2
    assert json.loads((tmp_path / "work" / "notified.json").read_text("utf-8"))["active"] == {BLOCKED.key: 2}


def test_no_log_shows_an_address(tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    chosen = settings(
        tmp_path, listener.url(CANARY), f"json://user:{CANARY}@127.0.0.1:{free_port()}/{CANARY}", f"nope://{CANARY}"
    )
    with caplog.at_level(logging.DEBUG):
        warnings = warnings_of(chosen, story(BLOCKED))

    assert len(warnings) == 2
    assert listener.paths == [f"/{CANARY}"]
    assert CANARY not in caplog.text + "".join(warnings)
    assert CANARY not in (tmp_path / "work" / "notified.json").read_text("utf-8")
    assert CANARY not in repr(read_addresses(tmp_path / "secret" / "urls"))


def test_a_failure_before_a_run_begins_is_told_and_raised(tmp_path: Path, listener: Listener) -> None:
    chosen = settings(tmp_path, listener.url())

    for _ in range(2):
        with pytest.raises(SourceError), notifying_failures(chosen):
            raise SourceError("is not there.", path="awards.csv", remedy="Check inputs.awards.")

    [post] = listener.taken()
    assert post["title"] == "enrich_dist failed: start"
    assert "- start: SourceError: awards.csv: is not there. Check inputs.awards." in post["message"]
    assert "Run:" not in post["message"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    urls = write_urls(tmp_path / "urls", f"json://{CANARY}")
    urls.chmod(mode)

    with pytest.raises(SettingsError, match=r"others may use it .*chmod 600") as raised:
        read_addresses(urls)

    assert CANARY not in str(raised.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of root's")
@pytest.mark.parametrize(("mode", "taken"), [(0o440, True), (0o640, True), (0o660, False), (0o644, False)])
def test_a_file_of_roots_may_be_read_by_its_group_as_a_secret_in_a_pod_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, taken: bool
) -> None:
    urls = write_urls(tmp_path / "urls", f"json://{CANARY}")
    urls.chmod(mode)
    monkeypatch.setattr(os, "geteuid", lambda: 10001)

    if taken:
        assert [address.url for address in read_addresses(urls)] == [f"json://{CANARY}"]
        return
    with pytest.raises(SettingsError, match="others may use it"):
        read_addresses(urls)


@pytest.mark.parametrize(("content", "message"), [(b"# nothing\n", "holds no address"), (b"\xff\xfe", "not UTF-8")])
def test_a_file_without_addresses_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    urls = write_urls(tmp_path / "urls")
    urls.write_bytes(content)

    with pytest.raises(SettingsError, match=message):
        read_addresses(urls)
    with pytest.raises(SettingsError, match="No such file"):
        read_addresses(tmp_path / "nowhere")


@pytest.mark.parametrize("value", [f"json://host/{CANARY}", f"slack://{CANARY}/b/c", f"mailto://u:{CANARY}@host"])
@pytest.mark.parametrize("by", ["command line", "environment", "file"])
def test_an_address_in_place_of_the_file_is_refused_and_not_repeated(tmp_path: Path, value: str, by: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"notifications: {{urls_file: '{value}'}}\n" if by == "file" else "", "utf-8")
    overrides = [f"notifications.urls_file={value}"] if by == "command line" else []
    environment = {"ENRICH_DIST_NOTIFICATIONS__URLS_FILE": value} if by == "environment" else {}

    with pytest.raises(SettingsError, match="urls_file is an address") as raised:
        load_settings(file, overrides, environment)

    assert CANARY not in str(raised.value)


def test_the_trial_tells_each_address_and_its_exit_code_says_whether_all_took_it(
    tmp_path: Path, listener: Listener
) -> None:
    urls = write_urls(tmp_path / "urls", listener.url(CANARY), f"json://127.0.0.1:{free_port()}/{CANARY}")

    some = enrich_dist("notify", "test", "--set", f"notifications.urls_file={urls}")
    write_urls(urls, listener.url(CANARY))
    every = enrich_dist("notify", "test", "--set", f"notifications.urls_file={urls}")
    without = enrich_dist("notify", "test")

    assert (some.returncode, every.returncode, without.returncode) == (1, 0, 2)
    refused = "line 2 (json): not sent: nobody answers there, or it was refused"
    assert some.stdout.splitlines() == ["line 1 (json): sent", refused]
    assert "notifications.urls_file is not set" in without.stderr
    assert CANARY not in some.stdout + some.stderr + every.stdout
    assert [post["title"] for post in listener.taken()] == ["enrich_dist test"] * 2


def test_the_trial_needs_addresses() -> None:
    with pytest.raises(SettingsError, match="not set"):
        trial(Settings())
