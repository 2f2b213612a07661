"""No secret is in the run directory, in the output, or in Dagster's history.

Every place for a secret has a canary. The job succeeds, is blocked and fails, and all files and output are searched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import enrich_dist
from tests.support.hosts import Certificates, DaskProcesses, Host
from tests.support.known_case import write_inputs

pytestmark = pytest.mark.cluster
CANARY = "canary7f3a9"
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": f"{CANARY}-id",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-secret",
    "AWS_SESSION_TOKEN": f"{CANARY}-session",
    "PGPASSWORD": f"{CANARY}-pg",
    "SOME_API_TOKEN": f"{CANARY}-token",
}


def files_with(needles: list[bytes], *folders: Path) -> dict[str, bytes]:
    """Files whose content or name contains a needle."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            for needle in needles:
                if needle in content or needle in str(path.relative_to(folder)).encode():
                    found[str(path)] = needle
    return found


def key_lines(certificates: Certificates) -> list[bytes]:
    """A line of each private key."""
    return [path.read_bytes().splitlines()[1] for path in certificates.directory.glob("*-key.pem")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    folder = tmp_path_factory.mktemp("secrets")
    with DaskProcesses(folder / "dask", Host(), Certificates(folder / "certificates"), **_ENVIRONMENT) as processes:
        processes.start_worker("only")
        yield processes


@pytest.mark.long
def test_run_leaks_no_secret(tmp_path: Path, cluster: DaskProcesses) -> None:
    assert cluster.certificates is not None
    awards, recipients = write_inputs(tmp_path / "inputs")
    home = tmp_path / "dagster_home"
    home.mkdir()
    arguments = [
        "run", "--verbose", "--work-dir", tmp_path / "work", "--awards", awards, "--recipients", recipients,
        "--set", "chunk_size=10", "--set", "cluster.kind=address", "--set", f"cluster.address={cluster.address}",
        *cluster.certificates.overrides(),
    ]  # fmt: skip
    environment = {**_ENVIRONMENT, "DAGSTER_HOME": str(home)}

    passed = enrich_dist(*arguments, "--set", "match_rate_threshold=0.5", **environment)
    blocked = enrich_dist(*arguments, "--set", "match_rate_threshold=0.99", **environment)
    failed = enrich_dist(
        *arguments, "--set", "chunk_size=5", "--set", f"cluster.tls.ca_file={awards}", "--debug", **environment
    )
    shown = [enrich_dist(command, "--set", f"paths.work_dir={tmp_path / 'work'}", **environment)
              for command in ("status", "doctor")]  # fmt: skip

    assert (passed.returncode, blocked.returncode) == (0, 3), passed.stderr + blocked.stderr
    assert failed.returncode not in (0, 3)
    needles = [CANARY.encode(), *key_lines(cluster.certificates)]
    assert len(needles) == 5
    printed = "".join(run.stdout + run.stderr for run in (passed, blocked, failed, *shown)).encode()
    assert len(printed) > 1_000
    assert [needle for needle in needles if needle in printed] == []
    assert any((home / "history").rglob("*.db"))
    assert files_with(needles, tmp_path / "work", home, cluster.folder) == {}


@pytest.mark.parametrize(
    "override",
    [
        f"cluster.address=tls://user:{CANARY}@scheduler:8786",
        f"cluster.address=user:{CANARY}@scheduler:8786",
        f"cluster.options.connect_options.password={CANARY}",
        f"cluster.options.connect_options.passphrase={CANARY}",
        f"cluster.options.env.AWS_SECRET_ACCESS_KEY={CANARY}",
        f"cluster.options={{connect_options: [{{password: {CANARY}}}]}}",
    ],
)
def test_secret_in_settings_is_refused(tmp_path: Path, override: str) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    kind = "address" if "address" in override else "ssh"

    refused = enrich_dist(
        "run", "--work-dir", tmp_path / "work", "--awards", awards, "--recipients", recipients, "--debug",
        "--set", f"cluster.kind={kind}", "--set", "cluster.allow_insecure=true", "--set", override,
    )  # fmt: skip

    assert refused.returncode == 2
    assert "cluster.address" in refused.stderr or "looks like a secret" in refused.stderr
    assert CANARY not in refused.stdout + refused.stderr.replace(override, "")
    assert files_with([CANARY.encode()], tmp_path) == {}
