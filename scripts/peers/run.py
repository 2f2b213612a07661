"""Run one peer in this process: ``python -m scripts.peers.run NAME LEFT RIGHT OUT [--sample N] [--seed S]``.

Reads both tables, searches block by block, and writes answers to the directory OUT, with ``run.json`` of seconds and
library versions. ``scripts.compare_peers`` measures and scores.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa

from scripts.peers.answers import best_per_left, one_row_per_name, read_side, write_part
from scripts.peers.methods import PEERS, Peer

RECORD = "run.json"


def main() -> None:
    """Read, prepare, and search block by block."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=list(PEERS))
    for name in ("left", "right", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    peer = PEERS[options.name]
    started = time.perf_counter()
    side, right = read_side(options.left), one_row_per_name(read_side(options.right))
    search = peer.prepare(one_row_per_name(side), right)
    prepared = time.perf_counter()
    names = one_row_per_name(_sample(side, sample_size(peer, len(right), options.sample), options.seed))
    right_ids = right["id"].combine_chunks()
    for block in _blocks(names, peer.block_rows or len(names)):
        found, scores = search(block)
        answers = best_per_left(block["id"].combine_chunks(), right_ids, found, scores, peer.threshold)
        write_part(options.out, answers)
        _record(options.out, peer, prepared - started, time.perf_counter() - prepared)


def sample_size(peer: Peer, right_names: int, sample: int | None) -> int | None:
    """Return the maximum number of companies for a peer, None for all. ``sample`` overrides its budget."""
    if peer.pair_budget is None:
        return None
    return sample or max(100, peer.pair_budget // max(1, right_names))


def _sample(side: pa.Table, size: int | None, seed: int) -> pa.Table:
    if size is None or size >= len(side):
        return side
    rows = np.sort(np.random.default_rng(seed).choice(len(side), size=size, replace=False))
    return side.take(pa.array(rows))


def _blocks(names: pa.Table, rows: int) -> list[pa.Table]:
    """The table in blocks of about so many rows; the rows of an id are in one block."""
    ids = names["id"].to_pylist()
    blocks, start = [], 0
    while start < len(ids):
        end = min(start + rows, len(ids))
        while end < len(ids) and ids[end] == ids[end - 1]:
            end += 1
        blocks.append(names.slice(start, end - start).combine_chunks())
        start = end
    return blocks


def _record(directory: Path, peer: Peer, prepare_seconds: float, answer_seconds: float) -> None:
    document = {
        "prepare_seconds": round(prepare_seconds, 3),
        "answer_seconds": round(answer_seconds, 3),
        "libraries": {name: version(name) for name in (*peer.libraries, "numpy", "pyarrow")},
        "python": platform.python_version(),
    }
    temporary = directory / f".{RECORD}.tmp"
    temporary.write_text(json.dumps(document), "utf-8")
    temporary.replace(directory / RECORD)


if __name__ == "__main__":
    main()
