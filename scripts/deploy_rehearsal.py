"""Rehearses a deployment without a container engine, from the very files that are deployed.

    python -m scripts.deploy_rehearsal

First the container file is executed instruction by instruction in a clean root. Then every service of the compose file
is started from that image: its command, environment, user, volumes, read-only root and health as they stand there, each
in a mount namespace and on a network address of its own, found by its name. A run is launched through the webserver's
GraphQL and watched to its end; its result, its history in PostgreSQL and its figures in Prometheus are looked at; then
`compose run run` is done, and the way to production that deploy/README.md tells is gone: a run is refused, a baseline
measured, a preflight passed, and the run let in. Ends with 0, or with 1 and the reason.

Needs root, Debian's postgresql, prometheus, prometheus-pushgateway, dnsmasq-base, iproute2 and wget, and the package
index for what the image installs; that is kept in --cache. What cannot be exercised so is listed, each with its reason.
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
    """Why a deployment cannot be rehearsed here; None where it can."""
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        absent.append("PostgreSQL in /usr/lib/postgresql")
    if absent:
        return f"no {', '.join(absent)} here (Debian: postgresql, prometheus-pushgateway, dnsmasq-base, …)"
    tried = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "only root may make namespaces"


@contextmanager
def step(what: str) -> Iterator[list[str]]:
    """Show a step while it is done, and then in a line how it ended and how long it took."""
    began = time.monotonic()
    said: list[str] = []
    try:
        with console.status(what):
            yield said
    except RehearsalError:
        console.print(f"✗ {what} ({time.monotonic() - began:.1f} s)", markup=False)
        raise
    ended = ": ".join([what, *said])
    console.print(f"✓ {ended} ({time.monotonic() - began:.1f} s)", markup=False)


def build(arguments: argparse.Namespace) -> None:
    """Execute the container file; leave the image in the folder."""
    keep_programs_in(arguments.folder / "usr")
    work = Build(arguments.context, arguments.folder / "stages", arguments.cache)
    instructions = read_containerfile(arguments.containerfile)
    executing = work.execute(instructions)
    for instruction in instructions:
        with step(f"{instruction.name} {instruction.text[:90]}") as said:
            said.append(next(executing)[1])
    image = work.image
    with step("the image is no root's, and has nothing to build with") as said:
        said.append(_small(image))
    described = {**asdict(image), "root": str(image.root.path)}
    (arguments.folder / "image.json").write_text(json.dumps(described), "utf-8")


def _small(image: Image) -> str:
    if image.user.uid == 0:
        raise RehearsalError("the image is started as root")
    look = (
        "for tool in gcc cc make git curl pip; do command -v $tool; done; "
        "find /etc /home /mnt /opt /root /run /srv /var -xdev -writable -not -type l -not -path '/var/tmp*' 2>/dev/null"
    )
    found = image.root.run(
        ["/bin/sh", "-c", look], user=image.user, environment=image.environment, directory=image.directory
    ).stdout.split()
    kept = [path for path in found if path != "/usr/local/bin/pip"]  # the Python image brings one; it can write nowhere
    if kept:
        raise RehearsalError(f"the image has {' '.join(kept)}")
    files = [path.lstat() for path in image.root.inside(str(Path(image.environment["DAGSTER_HOME"]).parent)).rglob("*")]
    return f"{sum(file.st_size for file in files) / 1e6:,.0f} MB on top of the base"


def load_image(folder: Path) -> Image:
    """The image that ``build`` left."""
    found = json.loads((folder / "image.json").read_text("utf-8"))
    found |= {"root": Root(Path(found["root"])), "user": User(**found["user"])}
    found |= {key: tuple(found[key]) for key in ("entrypoint", "command")}
    return Image(**found)


def rehearse(arguments: argparse.Namespace) -> None:
    """Start what the compose file tells, launch a run, look at it, end all. In namespaces of this process' own."""
    folder = Path(tempfile.mkdtemp(prefix="compose-", dir=arguments.folder))
    folder.chmod(0o755)
    keep_programs_in(arguments.folder / "usr")
    subprocess.run(["mkdir", "-p", "/run/netns"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "netns", "/run/netns"], check=True)
    with step(f"{arguments.compose.name} is understood"):
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
            with step(f"{name} × {services[name].replicas}") as said:
                said.append(deployment.start(name))
        _run_and_look(deployment, folder / "volumes" / "work")
        into_production = {**values, "ENVIRONMENT": "production", "ALERT_URLS": production.URLS_FILE}
        services = compose.read_compose(arguments.compose, into_production, folder / "volumes")
        _go_into_production(replace(deployment, services=services), folder / "alerts")
        deployment.look()
        with step("all end on the image's signal"):
            if wrong := deployment.stop():
                raise RehearsalError("; ".join(wrong))
    finally:
        deployment.stop()
        network.end()


def _run_and_look(deployment: Deployment, work_dir: Path) -> None:
    addresses, workers = deployment.network.addresses, deployment.services["worker"].replicas
    webserver, prometheus = job.Webserver(addresses["webserver-1"]), job.Prometheus(addresses["prometheus-1"])
    for name, port in (("webserver", 3000), ("prometheus", 9090)):
        if port not in deployment.services[name].ports:
            raise RehearsalError(f"{name} does not publish port {port}")
    with step("the daemon's parts are healthy") as said:
        said.append(", ".join(webserver.daemons()))
    with step("a run is launched by GraphQL") as said:
        run_id = webserver.launch()
        said.append(run_id)
    outcome = job.Outcome(run_id)
    with console.status("the run"):
        for state in webserver.watched(outcome, deployment.look):
            console.print(f"  {state}")
    with step("the run ended well") as said:
        said.append(job.succeeded(outcome))
    with step("the result is published") as said:
        said.append(job.published(work_dir, run_id, workers))
    with step("PostgreSQL has it in the history") as said:
        said.append(job.in_the_history(deployment.running["postgres-1"], run_id, runs=1))
    for line in job.figures(prometheus, deployment):
        console.print(f"  {line}")
    with step("compose run run: everything is found done") as said:
        overrides = [part for text in job.OVERRIDES for part in ("--set", text)]
        again = deployment.run("run", "run", *overrides)
        if again.process.wait(300) != 0:
            raise RehearsalError(f"ended with {again.process.returncode}:\n{again.said()}")
        said.append(job.in_the_history(deployment.running["postgres-1"], run_id, runs=2))
    deployment.look()


def _go_into_production(deployment: Deployment, alerts: Path) -> None:
    """The way that deploy/README.md tells, with the services as production has them."""
    image = deployment.image
    with production.listening(deployment.network.gateway, alerts, image.user) as told:
        for what, command, code, expected in production.WAY:
            with step(what) as said:
                asked = deployment.run("run", *command)
                try:
                    ended = asked.process.wait(production.PATIENCE_SECONDS)
                except subprocess.TimeoutExpired:
                    raise RehearsalError(f"has not ended:\n{asked.said()}") from None
                if ended != code or not all(text in " ".join(asked.said(20_000).split()) for text in expected):
                    raise RehearsalError(f"ended with {ended}, not {code} and {expected}:\n{asked.said()}")
                said.append(f"exit code {ended}")
        with step("who is to be told was told") as said:
            if not told:
                raise RehearsalError("no message has come")
            said.append(f"{len(told)} messages")


def _inputs(folder: Path) -> Path:
    """The bundled sample under the names of the settings."""
    folder.mkdir()
    sample = REPOSITORY / "data" / "sample"
    (folder / "award_data.csv").write_bytes(gzip.decompress((sample / "sbir_awards.csv.gz").read_bytes()))
    shutil.copy(sample / "recipients.parquet", folder)
    return folder


def tell_not_exercised() -> None:
    """What stands in the files and is not rehearsed."""
    console.print("Not exercised:")
    for what, why in {**containerfile.NOT_EXERCISED, **compose.NOT_EXERCISED}.items():
        console.print(f"  {what}: {why}")
    for image in FOREIGN:
        console.print(f"  {image}: no registry is asked; Debian's package in its place")


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--context", type=Path, default=REPOSITORY)
    parser.add_argument("--containerfile", type=Path, default=REPOSITORY / "deploy/container/Containerfile")
    parser.add_argument("--compose", type=Path, default=REPOSITORY / "deploy/compose/compose.yaml")
    parser.add_argument(
        "--cache", type=Path, default=REPOSITORY / "work" / "rehearsal", help="what the image downloads"
    )
    parser.add_argument("--folder", type=Path, help="where to work; kept. An image that is there is used again.")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.inside:
        return _ended(lambda: rehearse(arguments))
    if why := missing():
        console.print(f"A deployment cannot be rehearsed here: {why}.")
        return 1
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        return _both(arguments)
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir="/var/tmp") as folder:
        arguments.folder = Path(folder)
        return _both(arguments)


def _both(arguments: argparse.Namespace) -> int:
    if not (arguments.folder / "image.json").exists() and (code := _ended(lambda: build(arguments))):
        return code
    if arguments.build_only:
        return 0
    inside = [sys.executable, "-m", "scripts.deploy_rehearsal", "--inside", f"--folder={arguments.folder}",
              f"--compose={arguments.compose}"]  # fmt: skip
    # Whatever becomes of this process, nothing that it has started outlives it.
    namespaces = [
        "setpriv",
        "--pdeathsig=KILL",
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]
    code = subprocess.run([*namespaces, *inside], cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                          check=False).returncode  # fmt: skip
    if code == 0:
        tell_not_exercised()
    return code


def _ended(work: Callable[[], None]) -> int:
    try:
        work()
    except RehearsalError as error:
        console.print(f"Failed: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
