"""``enrich-dist checkpoints``: list them, hold them against their digests, remove those of no use."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.errors import EXIT_FAILED
from enrich_dist.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="The checkpoints of the latest plan: ls, verify, gc.")


@app.command("ls")
def list_(config: Config = None, overrides: Overrides = None) -> None:
    """List the chunks of the latest plan with their checkpoints; nothing is verified."""
    from enrich_dist.farm.diagnosis import examine
    from enrich_dist.reporting.diagnosis import checkpoints_table
    from enrich_dist.store.run_directory import RunDirectory

    findings = examine(RunDirectory(load_settings(config, overrides or []).settings.paths.work_dir))
    Console().print(checkpoints_table(findings))


@app.command()
def verify(config: Config = None, overrides: Overrides = None) -> None:
    """Read every checkpoint and hold it against its digests. Ends with exit code 1 if one is damaged."""
    from enrich_dist.farm.diagnosis import ChunkState, examine
    from enrich_dist.store.run_directory import RunDirectory

    findings = examine(RunDirectory(load_settings(config, overrides or []).settings.paths.work_dir), verify=True)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    damaged = [chunk for chunk in findings.chunks if chunk.state is ChunkState.DAMAGED]
    for chunk in damaged:
        console.print(f"Chunk {chunk.chunk_id}: {chunk.problem}")
    console.print(
        f"{findings.count(ChunkState.FINISHED):,} valid, {len(damaged):,} damaged, "
        f"{len(findings.chunks) - findings.count(ChunkState.FINISHED) - len(damaged):,} not there"
    )
    if damaged:
        console.print("Run the same `enrich-dist run` again: damaged checkpoints are computed anew.")
        raise typer.Exit(EXIT_FAILED)


@app.command()
def gc(
    config: Config = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    shared: Annotated[
        bool, typer.Option("--shared", help="Also where runs of other work directories may need them.")
    ] = False,
) -> None:
    """Remove checkpoints that belong to no chunk of the latest plan, and what dead writers left behind.

    They would spare work if their inputs and settings came back; nothing else needs them. Where paths.checkpoints
    names a location outside the work directory, other work directories may need them: that takes --shared.
    """
    from enrich_dist.errors import StateError
    from enrich_dist.farm.diagnosis import examine
    from enrich_dist.store.checkpoints import CheckpointStore
    from enrich_dist.store.lock import locked
    from enrich_dist.store.run_directory import RunDirectory

    directory = RunDirectory(load_settings(config, overrides or []).settings.paths.work_dir)
    with locked(directory.root, run_id=uuid.uuid4().hex, what="enrich-dist checkpoints gc"):
        findings = examine(directory)
        leftovers = findings.leftovers
        told = f"{len(leftovers):,} files ({sum(entry.bytes for entry in leftovers) / 1e6:,.1f} MB)"
        if leftovers and findings.shared and not (dry_run or shared):
            raise StateError(
                f"{told} in {findings.checkpoint_location} belong to no chunk of this work directory's latest plan, "
                "but runs of other work directories may need them. Nothing was removed.",
                remedy="If none does, and none is under way, say so with --shared; --dry-run lists them.",
            )
        storage = CheckpointStore(findings.checkpoint_location).storage
        if not dry_run:
            for entry in leftovers:
                storage.delete(entry.name)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    if dry_run:
        for entry in leftovers:
            console.print(storage.where(entry.name))
    console.print(f"{told} {'would be removed' if dry_run else 'removed'}")
