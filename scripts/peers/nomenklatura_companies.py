"""nomenklatura (OpenSanctions) linking companies: candidates of its DuckDB index, scored by one of its algorithms.

Records are companies of FollowTheMoney with a name and an address in one line. Algorithms and index have their default
settings; neither is trained on the case.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from followthemoney import Dataset, StatementEntity
from nomenklatura.blocker import Index
from nomenklatura.matching import ScoringConfig, get_algorithm

from scripts.peers.answers import TEXTS, Floats, Ints
from scripts.peers.methods import nothing_found


class _View:
    """The part of a store's view that the index reads."""

    def __init__(self, entities: list[Any], scope: Dataset) -> None:
        self._entities = entities
        self.scope = scope

    def entities(self, **_: object) -> Iterator[Any]:
        yield from self._entities


def prepare(algorithm: str, right: pa.Table) -> Callable[[pa.Table], tuple[Ints, Floats]]:
    """Index the right table."""
    dataset = Dataset.make({"name": "right", "title": "right"})
    entities = _entities(right, "r", dataset)
    by_id = {entity.id: (row, entity) for row, entity in enumerate(entities)}
    directory = tempfile.TemporaryDirectory(prefix="nomenklatura-")
    index = Index(_View(entities, dataset), Path(directory.name))
    index.build()
    scoring, config = get_algorithm(algorithm), ScoringConfig.defaults()

    def search(block: pa.Table, _: object = directory) -> tuple[Ints, Floats]:
        queries = _entities(block, "l", dataset)
        row_of = {entity.id: row for row, entity in enumerate(queries)}
        found, scores = nothing_found(len(block))
        for identifier, candidates in index.match_entities(queries):
            at = row_of[identifier.id]
            for candidate, _score in candidates:
                row, entity = by_id[candidate.id]
                score = scoring.compare(queries[at], entity, config).score
                if score > scores[at]:
                    found[at], scores[at] = row, score
        return found, scores

    return search


def _entities(table: pa.Table, prefix: str, dataset: Dataset) -> list[Any]:
    rows = table.select(TEXTS).to_pylist()
    return [
        StatementEntity.from_data(
            dataset,
            {"id": f"{prefix}{row}", "schema": "Company", "properties": {"name": [cells["name"]], **_address(cells)}},
        )
        for row, cells in enumerate(rows)
    ]


def _address(cells: dict[str, str | None]) -> dict[str, list[str]]:
    region = " ".join(filter(None, (cells["state"], cells["zip"])))
    parts = [part for part in (cells["address"], cells["city"], region) if part]
    return {"address": [", ".join(parts)]} if parts else {}
