"""``enrich-dist cluster``: more or fewer workers for the run under way, and certificates for a test bed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="The workers of the run under way, and TLS: scale, certs.")


@app.command()
def scale(
    workers: Annotated[int, typer.Argument(min=1, max=10_000, help="How many workers the run shall have.")],
    config: Config = None,
    overrides: Overrides = None,
    timeout_seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait for them.")] = 120.0,
) -> None:
    """Have the run in paths.work_dir work with so many workers, and wait until it does.

    What a worker that leaves was at goes to another; nothing is lost, and no try is counted.
    """
    from enrich_dist.cluster.scaling import ask_for_workers
    from enrich_dist.store.run_directory import RunDirectory

    directory = RunDirectory(load_settings(config, overrides or []).settings.paths.work_dir)
    note = ask_for_workers(directory.root, workers, timeout_seconds=timeout_seconds)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{len(note.workers):,} workers at {note.scheduler}")
    for worker in note.workers:
        console.print(f"  {worker}")


@app.command()
def certs(
    directory: Annotated[Path, typer.Argument(help="Where they are written; made if it is not there.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long they are valid.")] = 365,
) -> None:
    """Make a private certificate authority, and certificates of scheduler, workers and clients.

    Nothing is overwritten. Keep ca-key.pem apart: whoever has it can join the cluster and run code there.
    """
    from enrich_dist.cluster.certificates import make_certificates

    written = make_certificates(directory, valid_days=days)
    console = Console(highlight=False, soft_wrap=True)
    for path in written:
        console.print(f"{path}{' (secret)' if path.name.endswith('-key.pem') else ''}")
    where = directory.absolute()
    console.print("\nThe scheduler, each worker, and a run:")
    for command, role in (("dask scheduler --protocol tls", "scheduler"), ("dask worker tls://HOST:8786", "worker")):
        certificate = f"--tls-cert {where}/{role}.pem --tls-key {where}/{role}-key.pem"
        console.print(f"  {command} --tls-ca-file {where}/ca.pem {certificate}")
    files = {"ca_file": "ca", "cert_file": "client", "key_file": "client-key"}
    tls = " ".join(f"--set cluster.tls.{name}={where}/{file}.pem" for name, file in files.items())
    console.print(f"  enrich-dist run --set cluster.kind=address --set cluster.address=tls://HOST:8786 {tls}")
