"""Arrays of an index as files, and lists of numbers by key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from enrich_dist.matching.text_arrays import Ints


@dataclass(frozen=True)
class Lists:
    """Lists of numbers by key: those of key k are ``values[starts[k]:starts[k + 1]]``, ascending and distinct."""

    starts: Ints  # int64, one more than keys
    values: Ints  # int32

    def expand(self, keys: Ints) -> tuple[Ints, Ints]:
        """All members of the keys' lists: (position in ``keys``, value), in the order of ``keys``."""
        begin = self.starts[keys]
        counts = self.starts[keys + 1] - begin
        origin = np.repeat(np.arange(len(keys)), counts)
        within = np.arange(len(origin)) - np.repeat(np.cumsum(counts) - counts, counts)
        return origin, self.values[np.repeat(begin, counts) + within]

    def counts(self, keys: Ints) -> Ints:
        """Lengths of the keys' lists."""
        return np.asarray(self.starts[keys + 1] - self.starts[keys])


def starts_of(keys: Ints, key_count: int) -> Ints:
    """Where each key's list begins and ends, from the keys of all members: int64 (key_count + 1)."""
    starts = np.zeros(key_count + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=key_count), out=starts[1:])
    return starts


def load(path: Path) -> Ints:
    """An array mapped copy-on-write: pages that nobody writes to are shared among the workers of a host."""
    # An empty array cannot be mapped, and a tiny one is sooner read than mapped.
    array: Ints = np.load(path, mmap_mode="c" if path.stat().st_size > 256 else None)
    return np.asarray(array)
