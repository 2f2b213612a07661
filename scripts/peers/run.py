"""Run one peer in this process: ``python -m scripts.peers.run NAME LEFT RIGHT OUT [--sample N] [--seed S]``.

Reads the two hidden tables, asks the peer in its blocks, writes answers to the directory OUT part by part and
``run.json`` beside them with the seconds of each stage and the versions used. Measuring and scoring is done outside.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa

from scripts.peers.answers import best_per_left, one_row_per_name, read_side, write_part
from scripts.peers.registry import PEERS, Peer

RECORD = "run.json"


def main() -> None:
    """Read, prepare, answer block by block."""
    options = _options()
    peer = PEERS[options.name]
    started = time.perf_counter()
    side, right = read_side(options.left), one_row_per_name(read_side(options.right))
    left = one_row_per_name(side)
    asked = one_row_per_name(_sample(side, asked_limit(peer, len(right), options.sample), options.seed))
    answer = import_module(f"scripts.peers.{peer.module}").prepare(left, right)
    prepared = time.perf_counter()
    right_ids = right["id"].combine_chunks()
    for block in _blocks(asked, peer.block_rows or len(asked)):
        found, scores = answer(block)
        answers = best_per_left(block["id"].combine_chunks(), right_ids, found, scores, peer.threshold)
        write_part(options.out, answers)
        _record(options.out, peer, prepared - started, time.perf_counter() - prepared)


def asked_limit(peer: Peer, right_names: int, sample: int | None) -> int | None:
    """How many companies a peer is asked for at most; None for all. ``sample`` replaces what its budget allows."""
    if peer.pair_budget is None:
        return None
    return sample or max(100, peer.pair_budget // max(1, right_names))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=list(PEERS))
    parser.add_argument("left", type=Path)
    parser.add_argument("right", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _sample(side: pa.Table, limit: int | None, seed: int) -> pa.Table:
    if limit is None or limit >= len(side):
        return side
    rows = np.sort(np.random.default_rng(seed).choice(len(side), size=limit, replace=False))
    return side.take(pa.array(rows))


def _blocks(asked: pa.Table, rows: int) -> list[pa.Table]:
    """The table in pieces of about so many rows; never between two rows of one id."""
    ids = asked["id"].to_pylist()
    blocks, start = [], 0
    while start < len(ids):
        end = min(start + rows, len(ids))
        while end < len(ids) and ids[end] == ids[end - 1]:
            end += 1
        blocks.append(asked.slice(start, end - start).combine_chunks())
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
