"""Rehearse a deployment without a container engine, from the deployed files.

    python -m scripts.deploy_rehearsal

1. Execute the container file, instruction by instruction, in a clean root.
2. Start every service of the compose file from that image, with its command, environment, user, volumes, read-only root
   and health check, each in its own mount namespace and with its own network address.
3. Launch a run through the webserver's GraphQL API, and check its result, its history in PostgreSQL and its metrics in
   Prometheus.
4. Follow deploy/README.md into production: a run is refused, a baseline measured, a preflight passed, a run accepted.

Exits with 0, or with 1 and the reason. Needs root, Debian's postgresql, prometheus, prometheus-pushgateway,
dnsmasq-base, iproute2 and wget, and the package index for the image; --cache keeps the downloads. The output lists what
is not covered, with reasons.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from scripts.rehearsal import compose, containerfile, job, production
from scripts.rehearsal.containerfile import Build, Image, read_containerfile
from scripts.rehearsal.errors import RehearsalError
from scripts.rehearsal.network import Network
from scripts.rehearsal.roots import Root, User, keep_programs_in
from scripts.rehearsal.services import FOREIGN, Deployment

REPOSITORY = Path(__file__).resolve().parents[1]
_PROGRAMS = ("ip", "dnsmasq", "nsenter", "setpriv", "unshare", "prometheus", "prometheus-pushgateway", "wget")
console = Console(highlight=False, soft_wrap=True)


def missing() -> str | None:
    """Return why a rehearsal is not possible on this machine, or None."""
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        absent.append("PostgreSQL in /usr/lib/postgresql")
    if absent:
        return f"{', '.join(absent)} is missing (Debian: postgresql, prometheus-pushgateway, dnsmasq-base, …)"
    namespaces = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, check=False
    )
    return None if namespaces.returncode == 0 else "namespaces need root"


@contextmanager
def step(what: str) -> Iterator[list[str]]:
    """Show a step while it runs, then its result and duration; the caller appends details."""
    began = time.monotonic()
    details: list[str] = []
    try:
        with console.status(what):
            yield details
    except RehearsalError:
        console.print(f"✗ {what} ({time.monotonic() - began:.1f} s)", markup=False)
        raise
    console.print(f"✓ {': '.join([what, *details])} ({time.monotonic() - began:.1f} s)", markup=False)


def build(arguments: argparse.Namespace) -> None:
    """Execute the container file and write the image into the folder."""
    keep_programs_in(arguments.folder / "usr")
    work = Build(arguments.context, arguments.folder / "stages", arguments.cache)
    instructions = read_containerfile(arguments.containerfile)
    executing = work.execute(instructions)
    for instruction in instructions:
        with step(f"{instruction.name} {instruction.text[:90]}") as details:
            details.append(next(executing)[1])
    image = work.image
    with step("check that the image runs without root and build tools") as details:
        details.append(_check_image(image))
    described = {**asdict(image), "root": str(image.root.path)}
    (arguments.folder / "image.json").write_text(json.dumps(described), "utf-8")


def _check_image(image: Image) -> str:
    if image.user.uid == 0:
        raise RehearsalError("the image runs as root")
    look = (
        "for tool in gcc cc make git curl pip; do command -v $tool; done; "
        "find /etc /home /mnt /opt /root /run /srv /var -xdev -writable -not -type l -not -path '/var/tmp*' 2>/dev/null"
    )
    found = image.root.run(
        ["/bin/sh", "-c", look], user=image.user, environment=image.environment, directory=image.directory
    ).stdout.split()
    kept = [
        path for path in found if path != "/usr/local/bin/pip"
    ]  # part of the Python image; it cannot write anywhere
    if kept:
        raise RehearsalError(f"the image contains {' '.join(kept)}")
    files = [path.lstat() for path in image.root.inside(str(Path(image.environment["DAGSTER_HOME"]).parent)).rglob("*")]
    return f"{sum(file.st_size for file in files) / 1e6:,.0f} MB on top of the base"


def load_image(folder: Path) -> Image:
    """Read the image that ``build`` wrote."""
    found = json.loads((folder / "image.json").read_text("utf-8"))
    found |= {"root": Root(Path(found["root"])), "user": User(**found["user"])}
    found |= {key: tuple(found[key]) for key in ("entrypoint", "command")}
    return Image(**found)


def rehearse(arguments: argparse.Namespace) -> None:
    """Start all services, launch a run, check it, and stop. Runs in its own namespaces."""
    folder = Path(tempfile.mkdtemp(prefix="compose-", dir=arguments.folder))
    folder.chmod(0o755)
    keep_programs_in(arguments.folder / "usr")
    subprocess.run(["mkdir", "-p", "/run/netns"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "netns", "/run/netns"], check=True)
    with step(f"read {arguments.compose.name}"):
        values = {
            **compose.read_environment_file(arguments.compose.with_name(".env.example")),
            "INPUTS": str(_inputs(folder / "inputs")),
            "DAGSTER_POSTGRES_PASSWORD": secrets.token_hex(24),
            "ALERTS": str(production.alerts_folder(folder / "alerts")),
        }
        services = compose.read_compose(arguments.compose, values, folder / "volumes")
    network = Network(folder / "network")
    network.begin()
    deployment = Deployment(services, load_image(arguments.folder), folder, network)
    try:
        for name in deployment.order():
            if deployment.is_without_program(name):
                console.print(f"– {name}: its program is not installed here (Debian: prometheus-alertmanager)")
                continue
            with step(f"start {name} × {services[name].replicas}") as details:
                details.append(deployment.start(name))
        _check_run(deployment, folder / "volumes" / "work")
        production_values = {**values, "ENVIRONMENT": "production", "ALERT_URLS": production.URLS_FILE}
        services = compose.read_compose(arguments.compose, production_values, folder / "volumes")
        _enter_production(replace(deployment, services=services), folder / "alerts")
        deployment.check_running()
        with step("stop all services by the image's signal"):
            if wrong := deployment.stop():
                raise RehearsalError("; ".join(wrong))
    finally:
        deployment.stop()
        network.end()


def _check_run(deployment: Deployment, work_dir: Path) -> None:
    addresses, workers = deployment.network.addresses, deployment.services["worker"].replicas
    webserver, prometheus = job.Webserver(addresses["webserver-1"]), job.Prometheus(addresses["prometheus-1"])
    for name, port in (("webserver", 3000), ("prometheus", 9090)):
        if port not in deployment.services[name].ports:
            raise RehearsalError(f"{name} does not publish port {port}")
    with step("wait for healthy Dagster daemons") as details:
        details.append(", ".join(webserver.daemons()))
    with step("launch a run by GraphQL") as details:
        run_id = webserver.launch()
        details.append(run_id)
    outcome = job.Outcome(run_id)
    with console.status("the run"):
        for state in webserver.watched(outcome, deployment.check_running):
            console.print(f"  {state}")
    with step("check the run and its asset checks") as details:
        details.append(job.check_outcome(outcome))
    with step("check the published result") as details:
        details.append(job.check_published(work_dir, run_id, workers))
    with step("check the history in PostgreSQL") as details:
        details.append(job.check_history(deployment.running["postgres-1"], run_id, runs=1))
    for line in job.check_metrics(prometheus, deployment):
        console.print(f"  {line}")
    with step("compose run run reuses all outputs") as details:
        overrides = [part for text in job.OVERRIDES for part in ("--set", text)]
        again = deployment.run("run", "run", *overrides)
        if again.process.wait(300) != 0:
            raise RehearsalError(f"exited with {again.process.returncode}:\n{again.output()}")
        details.append(job.check_history(deployment.running["postgres-1"], run_id, runs=2))
    deployment.check_running()


def _enter_production(deployment: Deployment, alerts: Path) -> None:
    """Follow the steps of deploy/README.md into production."""
    with production.listening(deployment.network.gateway, alerts, deployment.image.user) as received:
        for what, command, expected in production.STEPS:
            with step(what) as details:
                running = deployment.run("run", *command)
                try:
                    code = running.process.wait(production.TIMEOUT_SECONDS)
                except subprocess.TimeoutExpired:
                    raise RehearsalError(f"still running:\n{running.output()}") from None
                if code != expected:
                    raise RehearsalError(f"exited with {code} instead of {expected}:\n{running.output()}")
                details.append(f"exit code {code}")
        with step("check the notification") as details:
            if not received:
                raise RehearsalError("no message was received")
            details.append(f"{len(received)} messages")


def _inputs(folder: Path) -> Path:
    """The bundled sample with the file names of the settings."""
    folder.mkdir()
    sample = REPOSITORY / "data" / "sample"
    (folder / "award_data.csv").write_bytes(gzip.decompress((sample / "sbir_awards.csv.gz").read_bytes()))
    shutil.copy(sample / "recipients.parquet", folder)
    return folder


def show_not_covered() -> None:
    """Print what the files contain and the rehearsal does not cover."""
    console.print("Not covered:")
    for what, why in {**containerfile.NOT_COVERED, **compose.NOT_COVERED}.items():
        console.print(f"  {what}: {why}")
    for image in FOREIGN:
        console.print(f"  {image}: Debian's package instead of the image of a registry")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--context", type=Path, default=REPOSITORY)
    parser.add_argument("--containerfile", type=Path, default=REPOSITORY / "deploy/container/Containerfile")
    parser.add_argument("--compose", type=Path, default=REPOSITORY / "deploy/compose/compose.yaml")
    parser.add_argument("--cache", type=Path, default=REPOSITORY / "work" / "rehearsal", help="directory of downloads")
    parser.add_argument("--folder", type=Path, help="working directory, which is kept; an image in it is reused")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.inside:
        return _exit_code(lambda: rehearse(arguments))
    if why := missing():
        console.print(f"A rehearsal is not possible on this machine: {why}.")
        return 1
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        return _build_and_rehearse(arguments)
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir="/var/tmp") as folder:
        arguments.folder = Path(folder)
        return _build_and_rehearse(arguments)


def _build_and_rehearse(arguments: argparse.Namespace) -> int:
    if not (arguments.folder / "image.json").exists() and (code := _exit_code(lambda: build(arguments))):
        return code
    if arguments.build_only:
        return 0
    # No child process outlives this one.
    namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [sys.executable, "-m", "scripts.deploy_rehearsal", "--inside", f"--folder={arguments.folder}"]
    code = subprocess.run(
        ["setpriv", "--pdeathsig=KILL", "unshare", *namespaces, *command, f"--compose={arguments.compose}"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    ).returncode
    if code == 0:
        show_not_covered()
    return code


def _exit_code(work: Callable[[], None]) -> int:
    try:
        work()
    except RehearsalError as error:
        console.print(f"Failed: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
