"""The matcher that the driver sends to workers: it opens the index and matches recipients in batches.

Imports heavy modules where it uses them, because processes that never match unpickle it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from enrich_dist import schema
from enrich_dist.core.files import text_digest
from enrich_dist.matching.config import ENGINE_VERSION, CandidateConfig
from enrich_dist.schema import MIN_SAME_TOWN, AddressLevel, Agreement, NameKind, NameLevel, PlaceLevel

if TYPE_CHECKING:
    from enrich_dist.core.matcher import MatchMemory
    from enrich_dist.matching.blocking import Pairs, Prepared
    from enrich_dist.matching.index import CompanyIndex


@dataclass(frozen=True)
class OrganisationMatcher:
    """Finds the candidates of recipients among companies. Immutable, picklable, equal if its config is equal."""

    config: CandidateConfig = field(default_factory=CandidateConfig)

    def key(self) -> str:
        """Return the BLAKE3 digest of everything, except companies and recipients, that candidates depend on."""
        return text_digest(ENGINE_VERSION, self.config.digest())

    def memory(self, index_bytes: int) -> MatchMemory:
        """Return the memory model for an index whose files have ``index_bytes``."""
        from enrich_dist.matching.memory import match_memory

        return match_memory(index_bytes)

    def open_index(self, directory: Path) -> CompanyIndex:
        """Map the files of ``index.build_index`` into memory."""
        from enrich_dist.matching.index import open_index

        return open_index(directory)

    def match(self, index: CompanyIndex, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Return (candidates, counts) of recipients (``schema.RECIPIENT``) with distinct ``source_row``.

        Candidates (``schema.CANDIDATE``): sorted by company_id and source_row, which are unique. Counts
        (``schema.COUNT``): sorted by kind and key. Both of a recipient are independent of other recipients, so matching
        a table in parts and joining them gives the same result.
        """
        return self.join(list(self._parts(index, recipients)))

    def join(self, parts: Sequence[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
        """Return (candidates, counts) of a table from those of its parts."""
        if not parts:
            return schema.CANDIDATE.empty_table(), schema.COUNT.empty_table()
        candidates = pa.concat_tables([part for part, _ in parts])
        joined = candidates.sort_by([("company_id", "ascending"), ("source_row", "ascending")])
        return joined, add_counts(pa.concat_tables([counts for _, counts in parts]))

    def _parts(self, index: CompanyIndex, recipients: pa.Table) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yield candidates and counts batch by batch, in the order of the recipients."""
        from enrich_dist.matching import blocking, compare
        from enrich_dist.matching.keys import recipient_keys

        for start in range(0, recipients.num_rows, self.config.batch_rows):
            part = recipients.slice(start, self.config.batch_rows)
            batch = blocking.prepare(index, part)
            pairs = blocking.candidate_pairs(index, batch, self.config)
            comparison = compare.compare(index, batch, pairs)
            kept = _worth_keeping(comparison)
            rows, position = np.unique(pairs.rows[kept], return_inverse=True)
            matched = part.take(pa.array(rows))
            taken = matched.take(pa.array(position))
            keys = recipient_keys(matched).take(pa.array(position))
            comparison = comparison.filter(pa.array(kept))
            columns = {
                "company_id": pa.array(pairs.companies[kept], pa.int32()),
                **{name: found[name] for found in (comparison, keys, taken) for name in found.column_names},
            }
            table = pa.table([columns[f.name] for f in schema.CANDIDATE], schema=schema.CANDIDATE)
            yield (
                table,
                _counts(
                    index,
                    batch,
                    pairs,
                    placeless=_count_placeless(part),
                    places=compare.random_places(index, batch, part["source_row"].to_numpy()),
                ),
            )


def add_counts(counts: pa.Table) -> pa.Table:
    """Return the sums of counts: one row per kind and key, in that order."""
    added = counts.group_by(["kind", "key"]).aggregate([("count", "sum")])
    added = added.rename_columns(["kind", "key", "count"]).select(schema.COUNT.names)
    return added.sort_by([("kind", "ascending"), ("key", "ascending")]).cast(schema.COUNT)


def _count_placeless(recipients: pa.Table) -> int:
    known = [recipients[name].is_valid().to_numpy() for name in ("state", "city", "zip5")]
    return int(np.count_nonzero(~np.logical_or.reduce(known)))


def _worth_keeping(comparison: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    column = {name: comparison[name].to_numpy() for name in comparison.column_names}
    identified = (column["uei_agreement"] == Agreement.AGREE) | (column["duns_agreement"] == Agreement.AGREE)
    # Names with different words on both sides are candidates in the same town, or where their places are not known.
    level, place = column["name_level"], column["place_level"]
    near = (level == NameLevel.DIFFERENT_WORDS) & ((place >= MIN_SAME_TOWN) | (place == PlaceLevel.UNKNOWN))
    near |= column["address_level"] > AddressLevel.DIFFERENT
    return np.asarray(identified | near | (level > NameLevel.DIFFERENT_WORDS))


def _counts(
    index: CompanyIndex,
    batch: Prepared,
    pairs: Pairs,
    *,
    placeless: int,
    places: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> pa.Table:
    token_starts, concepts = batch.tokens[:2]
    legal = np.bincount(batch.name_ids[batch.name_kinds == NameKind.LEGAL], minlength=len(batch.names))
    # Recipients with the name of a company are its candidates, not others that share a word with it.
    legal[batch.name_codes >= 0] = 0
    counts_of = np.repeat(legal, np.diff(token_starts))
    # Unknown words are -1: the last entry.
    known = np.append(index.vocabulary.in_companies, False)[concepts]
    concept_counts = np.bincount(
        concepts[known], weights=counts_of[known], minlength=index.vocabulary.concept_count
    ).astype(np.int64)
    parts = [
        ("recipients", np.array([batch.row_count])),
        ("placeless", np.array([placeless])),
        ("concept", concept_counts),
        ("random_place", places),
        ("blocks_left_out", np.array([pairs.blocks_left_out])),
        ("pairs_left_out", np.array([pairs.pairs_left_out])),
        ("addresses_left_out", np.array([pairs.same_places.left_out])),
    ]
    tables = []
    for kind, counts in parts:
        keys = np.flatnonzero(counts)
        tables.append(
            pa.table(
                [pa.array([kind] * len(keys), pa.string()), keys.astype(np.int32), counts[keys]], schema=schema.COUNT
            )
        )
    return pa.concat_tables(tables)
