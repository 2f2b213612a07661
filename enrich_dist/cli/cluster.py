"""``enrich-dist cluster``: scale the workers of the active run, and make certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enrich_dist.cli.options import Config, Overrides, run_directory
from enrich_dist.core.console import PlainConsole

app = typer.Typer(no_args_is_help=True, help="Workers of the active run, and TLS: scale, certs.")


@app.command()
def scale(
    workers: Annotated[int, typer.Argument(min=1, max=10_000, help="Number of workers.")],
    config: Config = None,
    overrides: Overrides = None,
    timeout_seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait for the workers.")] = 120.0,
) -> None:
    """Set the number of workers of the run in paths.work_dir, and wait until it is reached.

    Workers that leave are retired: their chunks go to other workers, and the attempts are not counted. Does not apply
    to cluster.kind address and ssh, where you start and stop `dask worker` yourself.

    Example: `enrich-dist cluster scale 8`
    """
    from enrich_dist.cluster.scaling import request_workers

    note = request_workers(run_directory(config, overrides).root, workers, timeout_seconds=timeout_seconds)
    PlainConsole().print(f"{len(note.workers):,} workers at {note.scheduler}", *note.workers, sep="\n  ")


@app.command()
def certs(
    directory: Annotated[Path, typer.Argument(help="Output directory; it is created if needed.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="Validity in days.")] = 365,
) -> None:
    """Make a private certificate authority, and certificates for scheduler, workers and clients.

    Existing files are not overwritten. Store ca-key.pem elsewhere: anyone who has it can join the cluster and run code
    on it.

    Example: `enrich-dist cluster certs certificates`
    """
    from enrich_dist.cluster.certificates import make_certificates

    console = PlainConsole()
    for path in make_certificates(directory, valid_days=days):
        console.print(f"{path}{' (secret)' if path.name.endswith('-key.pem') else ''}")
