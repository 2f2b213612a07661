"""Helpers for tests with a real browser on a real Dagster UI.

Needs Chromium (Debian: ``apt-get install chromium``); $CHROMIUM names another executable.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.conftest import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
BASE = REPOSITORY / "config" / "base.yaml"
SAMPLE = REPOSITORY / "config" / "sample.yaml"
SAMPLE_INPUTS = (
    "--set=inputs.awards=data/sample/sbir_awards.csv.gz",
    "--set=inputs.recipients=data/sample/recipients.parquet",
)
"""The sample under config/base.yaml, whose threshold the sample cannot reach: the run is blocked."""
BLOCKED_EXIT_CODE = 3

LINEAGE = "/asset-groups"
GROUP_LINEAGE = "/locations/dagster_defs.definitions/asset-groups/enrichment"
RUNS = "/runs"
AUTOMATION = "/automation"

_SERVER_START_SECONDS = 60
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def check_page(asset: str, check: str) -> str:
    """Return the path of a check's page."""
    return f"/assets/{asset}?view=checks&checkDetail={check}"


def events_page(asset: str) -> str:
    """Return the path of an asset's materializations, of which the latest is open."""
    return f"/assets/{asset}?view=events"


def overview_page(asset: str) -> str:
    """Return the path of an asset's overview, with its metadata as a table or as plots."""
    return f"/assets/{asset}?view=overview"


def switch(page: Page, kind: str, name: str) -> Locator:
    """Return the switch of a schedule or sensor on the automation page; ``kind`` is the plural."""
    row = page.locator(f"a[href$='/{kind}/{name}']").locator("xpath=..")
    return row.locator("label[class*='formatSwitch'] input")


@contextmanager
def serving(dagster_home: Path) -> Iterator[str]:
    """Serve the UI with the history in ``dagster_home``; yields its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        str(Path(sys.executable).with_name("dagster-webserver")),
        *("--host", "127.0.0.1", "--port", str(port), "--module-name", "dagster_defs.definitions"),
    ]
    environment = {**os.environ, "DAGSTER_HOME": str(dagster_home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            if not _answers(server, address):
                log.seek(0)
                raise RuntimeError(f"dagster-webserver did not start:\n{log.read().decode(errors='replace')}")
            yield address
        finally:
            _end(server)


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened_page(
    browser: Browser, address: str, *, preferences: Mapping[str, object] | None = None, scale: float = 1
) -> Iterator[Page]:
    """Open a page in a new browser context, with ``preferences`` in its local storage.

    Raises ``AssertionError`` if the code of the page failed.
    """
    stored = {"communityNux": 1, **(preferences or {})}  # suppresses the newsletter dialog
    context = browser.new_context(
        base_url=address,
        viewport={"width": 1400, "height": 800},
        device_scale_factor=scale,
        locale="en-US",
        timezone_id="UTC",
    )
    context.add_init_script(
        "".join(f"localStorage.setItem({json.dumps(k)}, {json.dumps(json.dumps(v))});" for k, v in stored.items())
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{page.url}: {error}"))
    try:
        yield page
    finally:
        context.close()
    assert not errors, "\n".join(errors)


def _chromium() -> str:
    named = os.environ.get("CHROMIUM")
    found = (
        shutil.which(named) if named else next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    )
    if found is None:
        raise FileNotFoundError(
            f"no Chromium at {named or 'chromium, chromium-browser'}: install it (Debian: apt-get install chromium) "
            "or name the executable with CHROMIUM=/path/to/chromium"
        )
    return found


def _answers(server: subprocess.Popen[bytes], address: str) -> bool:
    """Return whether the server answers before it exits or times out."""
    deadline = time.monotonic() + _SERVER_START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and its code server, a process of the same session."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, sent)
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return
