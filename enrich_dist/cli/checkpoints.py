"""``enrich-dist checkpoints``: list them, verify them, and remove those that no chunk needs."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from enrich_dist.cli.options import Config, Overrides, run_directory
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import EXIT_FAILED
from enrich_dist.remedies import RESUME

app = typer.Typer(no_args_is_help=True, help="Checkpoints of the latest plan: ls, verify, gc.")


@app.command("ls")
def list_(config: Config = None, overrides: Overrides = None) -> None:
    """List the chunks of the latest plan with their checkpoints, without verifying them.

    Example: `enrich-dist checkpoints ls`
    """
    from enrich_dist.farm.diagnosis import examine
    from enrich_dist.reporting.diagnosis import checkpoints_table

    PlainConsole(wrap=True).print(checkpoints_table(examine(run_directory(config, overrides))))


@app.command()
def verify(config: Config = None, overrides: Overrides = None) -> None:
    """Read every checkpoint and compare it with its digests. Exit code 1 if one is damaged.

    A run does the same before it reuses a checkpoint. Use this command after a disk failure or a copy.

    Example: `enrich-dist checkpoints verify`
    """
    from enrich_dist.farm.diagnosis import ChunkState, examine

    diagnosis = examine(run_directory(config, overrides), verify=True)
    console = PlainConsole()
    damaged = [chunk for chunk in diagnosis.chunks if chunk.state is ChunkState.DAMAGED]
    for chunk in damaged:
        console.print(f"Chunk {chunk.chunk_id}: {chunk.problem}")
    valid = diagnosis.count(ChunkState.FINISHED)
    missing = len(diagnosis.chunks) - valid - len(damaged)
    console.print(f"{valid:,} valid, {len(damaged):,} damaged, {missing:,} missing")
    if damaged:
        console.print(RESUME)
        raise typer.Exit(EXIT_FAILED)


@app.command()
def gc(
    config: Config = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    shared: Annotated[
        bool, typer.Option("--shared", help="Also remove from a location that other work directories share.")
    ] = False,
) -> None:
    """Remove checkpoints that no chunk of the latest plan needs, and partial files of dead writers.

    They would only save work if their inputs and settings were used again. If paths.checkpoints is outside the work
    directory, other work directories may need them, so --shared is required.

    Example: `enrich-dist checkpoints gc --dry-run`
    """
    from enrich_dist.errors import StateError
    from enrich_dist.farm.diagnosis import examine
    from enrich_dist.store.checkpoints import CheckpointStore
    from enrich_dist.store.lock import locked

    directory = run_directory(config, overrides)
    with locked(directory.root, run_id=uuid.uuid4().hex, what="enrich-dist checkpoints gc"):
        diagnosis = examine(directory)
        location = diagnosis.checkpoint_location
        store = CheckpointStore(location)
        unused = [entry for entry in diagnosis.leftovers if store.wrote(entry.name)]
        size = f"{len(unused):,} files ({sum(entry.bytes for entry in unused) / 1e6:,.1f} MB)"
        if unused and diagnosis.shared and not (dry_run or shared):
            raise StateError(
                f"Nothing was removed: {size} in {location} belong to no chunk of this work directory's latest plan, "
                "but runs of other work directories may need them.",
                remedy="If none does and no run is active, add --shared; --dry-run lists the files.",
            )
        if not dry_run:
            for entry in unused:
                store.storage.delete(entry.name)
    console = PlainConsole()
    for entry in unused if dry_run else ():
        console.print(store.storage.where(entry.name))
    console.print(f"{size} {'would be removed' if dry_run else 'removed'}")
