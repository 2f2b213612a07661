"""Paths of a checkpoint's files in a local store, for tests that damage them."""

from __future__ import annotations

from pathlib import Path

from enrich_dist.store.checkpoints import CheckpointStore, candidates_name, counts_name, record_name


def data_path(store: CheckpointStore, key: str) -> Path:
    return Path(store.location) / candidates_name(key)


def counts_path(store: CheckpointStore, key: str) -> Path:
    return Path(store.location) / counts_name(key)


def record_path(store: CheckpointStore, key: str) -> Path:
    return Path(store.location) / record_name(key)
