"""What can be evaluated, opened as tables of one connection: a run, two linked tables, or a file of links.

The latest run and two linked tables have their candidates, so blocking can be measured, misses explained, and
identifiers hidden. An earlier run has its best candidates only, a file of links only what was written to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb
import pyarrow as pa

from enrich_dist.core.database import attach_sql, connect
from enrich_dist.core.files import read_json
from enrich_dist.errors import EnrichError, SourceError, StateError
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.matching.weights import Weights
from enrich_dist.pipeline.linking import LINK, linked_tables
from enrich_dist.results.build import DATABASE
from enrich_dist.results.calibration import without_identifiers
from enrich_dist.results.candidate_tables import CandidateTables
from enrich_dist.results.reduce import create_matches
from enrich_dist.results.reopen import ReopenedResult, reopen_result
from enrich_dist.results.scoring import Scores, score
from enrich_dist.results.tables import Table, create_table
from enrich_dist.runs.journal import LATEST, find_run, latest_run
from enrich_dist.runs.records import RunRecord
from enrich_dist.sources.parquet import open_parquet, open_text_table
from enrich_dist.sources.source_file import SourceFile
from enrich_dist.sources.table_file import open_table
from enrich_dist.store.run_directory import RunDirectory


@dataclass(frozen=True)
class Model:
    """Candidates of a result, and what they are scored with."""

    tables: CandidateTables
    weights: Weights
    partner_share: float


@dataclass(frozen=True)
class Subject:
    """A result to evaluate; its tables are on ``connection``.

    ``companies``: ``schema.COMPANY``; ``matches``: the best candidate of each (``schema.COMPANY_MATCH``, from a file of
    links its main columns); ``awards``: of a run. ``recipients``: Parquet files of all recipients, none where they are
    not known. ``model``: None without candidates. ``has_left_ids``: labels name companies by ``left_id``;
    ``has_ueis``: recipients have UEIs.
    ``decision``: the thresholds of the result, None where they are not known. ``estimated``: accuracy by the result
    itself (``quality.estimate_accuracy``), None where it has none. ``note``: a limit of what can be measured.
    """

    title: str
    connection: duckdb.DuckDBPyConnection
    companies: Table
    matches: Table
    awards: Table | None = None
    recipients: tuple[Path, ...] = ()
    model: Model | None = None
    has_left_ids: bool = False
    has_ueis: bool = True
    decision: DecisionConfig | None = None
    estimated: Mapping[str, Any] | None = None
    identifiers_hidden: bool = False
    note: str = ""

    def score(self, company_ids: Table) -> tuple[Subject, Scores | None]:
        """Score the candidates of these companies (``company_id``); return also the subject with their matches.

        As the result did, or without identifiers. None where there are no candidates.
        """
        if self.model is None:
            return self, None
        connection, whole = self.connection, self.model.tables
        chosen = f"semi join {company_ids} using (company_id)"
        tables = replace(
            whole,
            candidates=create_table(connection, "candidates", f"from {whole.candidates} {chosen}"),
            companies=create_table(connection, "companies", f"from {whole.companies} {chosen}"),
        )
        tables = without_identifiers(tables) if self.identifiers_hidden else tables
        scores = score(tables, self.model.weights, partner_share=self.model.partner_share)
        if not self.identifiers_hidden:
            return self, scores
        create_matches(scores, self.decision or DecisionConfig())
        matches = create_table(connection, "matches", "from company_matches")
        return replace(self, matches=matches, estimated=None), scores


@contextmanager
def open_run(
    directory: RunDirectory, name: str = LATEST, *, decision: DecisionConfig, hide_identifiers: bool = False
) -> Iterator[Subject]:
    """Open the result of a run, as ``journal.find_run`` takes its name.

    ``decision``: the thresholds where the run did not record its own. Raises ``StateError`` when its result is no
    longer on disk, and when identifiers cannot be hidden because its candidates no longer exist.
    """
    latest = latest_run(directory)
    run = latest if name == LATEST else find_run(directory, name)
    thresholds = _thresholds(run, decision)
    with ExitStack() as stack:
        reopened, why = None, "It is not the latest run"
        if run.key == latest.key:
            try:
                reopened = stack.enter_context(reopen_result(directory))
            except EnrichError as error:
                why = f"Its candidates cannot be read ({error.message.rstrip('.')})"
        if reopened is not None:
            result = directory.results / run.result
            yield _with_candidates(reopened, run, result, thresholds, hide_identifiers=hide_identifiers)
        elif hide_identifiers:
            raise StateError(
                f"Identifiers of run {run.short_id} cannot be hidden. {why}.", remedy="Evaluate the latest run."
            )
        else:
            yield stack.enter_context(_open_result(directory, run, thresholds, why))


def _with_candidates(
    result: ReopenedResult, run: RunRecord, path: Path, decision: DecisionConfig, *, hide_identifiers: bool
) -> Subject:
    matches = create_table(result.connection, "matches", "from company_matches")
    if hide_identifiers:  # they are made again
        result.connection.execute("drop view company_matches")
    return Subject(
        title=f"run {run.short_id}",
        connection=result.connection,
        companies=Table("companies"),
        matches=matches,
        awards=Table("enriched_awards"),
        recipients=tuple(sorted(result.plan.glob("[0-9]*.parquet"))),
        model=Model(result.tables, result.weights, result.partner_share),
        decision=decision,
        estimated=read_json(path / "metrics.json")["accuracy"],
        identifiers_hidden=hide_identifiers,
    )


@contextmanager
def _open_result(directory: RunDirectory, run: RunRecord, decision: DecisionConfig, why: str) -> Iterator[Subject]:
    places = (directory.results / run.result, directory.published / run.release)
    path = next((place for place in places if (place / DATABASE).exists()), None)
    if path is None:
        raise StateError(
            f"The result of run {run.short_id} (results/{run.result}) is no longer on disk.",
            remedy="Name another run of `enrich-dist runs ls`, or run again with its inputs and settings.",
        )
    with connect(scratch=directory.scratch) as connection:
        connection.execute(attach_sql(path / DATABASE, "result"))
        for table in ("companies", "company_matches", "enriched_awards"):
            connection.execute(f"create view {table} as from result.{table}")
        yield Subject(
            title=f"run {run.short_id}",
            connection=connection,
            companies=Table("companies"),
            matches=Table("company_matches"),
            awards=Table("enriched_awards"),
            decision=decision,
            estimated=read_json(path / "metrics.json")["accuracy"],
            note=f"{why}: blocking is not measured, misses have no reason, and unknown recipients are not reported.",
        )


@contextmanager
def open_tables(
    left: Path,
    right: Path,
    *,
    left_columns: Mapping[str, str | None],
    right_columns: Mapping[str, str | None],
    candidates: CandidateConfig,
    decision: DecisionConfig,
    hide_identifiers: bool = False,
) -> Iterator[Subject]:
    """Link two tables as ``enrich-dist link`` does, and open the result. Raises ``SourceError``."""
    with linked_tables(
        left,
        right,
        left_columns=left_columns,
        right_columns=right_columns,
        candidates=candidates,
        decision=decision,
        keep_recipients=True,
    ) as linked:
        scores = linked.scores
        yield Subject(
            title=f"{left.name} linked with {right.name}",
            connection=linked.connection,
            companies=scores.tables.companies,
            matches=create_table(linked.connection, "matches", "from company_matches"),
            recipients=linked.recipients,
            model=Model(scores.tables, scores.weights, scores.partner_share),
            has_left_ids=True,
            decision=decision,
            estimated=linked.summary.accuracy,
            identifiers_hidden=hide_identifiers,
        )


_NEEDED: Final = ("left_id", "right_id", "probability", "status")
_NOTE: Final = (
    "A file of links has no candidates: blocking is not measured, misses have no reason, and unknown ids are not "
    "reported. With the tables (--left, --right) they are. Thresholds below the lowest probability in the file, and "
    "companies without a link in it, count as not matched."
)


@contextmanager
def open_links(path: Path, labels: pa.Table) -> Iterator[Subject]:
    """Open a file that ``enrich-dist link`` wrote, with the best link of each company.

    Companies are those of the file and of the ``labels``, because the file has no others. Raises ``SourceError`` when
    the file has no such columns.
    """
    with TemporaryDirectory(prefix="enrich_dist_evaluate_") as name, connect(scratch=Path(name)) as connection:
        connection.register("links", _read_links(path))
        connection.register("labels_read", labels.select(["left_id"]))
        companies = create_table(
            connection,
            "companies",
            """
            select (row_number() over (order by company_key) - 1)::integer as company_id, company_key,
                   max(name) as name, [max(name)] as names, [{'address': null::varchar, 'city': max(city),
                   'state': max(state), 'zip5': max(zip)}] as locations
            from (select left_id as company_key, left_name as name, left_city as city, left_state as state,
                         left_zip as zip from links
                  union all select left_id, null, null, null, null from labels_read where left_id is not null)
            group by company_key order by company_key
            """,
        )
        matches = create_table(
            connection,
            "matches",
            f"""
            select company_id, status as match_status, method as match_method, probability as match_probability,
                   score as match_weight, right_id as recipient_id, null::varchar as recipient_uei,
                   right_name as recipient_name, right_city as recipient_city, right_state as recipient_state,
                   null::tinyint as name_level, null::tinyint as place_level
            from {companies} left join (
                select * from links
                qualify row_number() over (
                    partition by left_id order by status = 'matched' desc, probability desc, score desc, right_id) = 1
            ) on left_id = company_key order by company_id
            """,
        )
        yield Subject(path.name, connection, companies, matches, has_left_ids=True, has_ueis=False, note=_NOTE)


def _read_links(path: Path) -> pa.Table:
    file = SourceFile(path)
    opened = open_table(file) if open_parquet(file) is None else open_text_table(file)
    with opened as records:
        if missing := [name for name in _NEEDED if name not in records.header]:
            raise SourceError(
                f"no column {', '.join(missing)}.", path=path, remedy="Name a file that `enrich-dist link` wrote."
            )
        blocks = [pa.table(block.cells, records.header) for block in records.blocks()]
    texts = pa.concat_tables(blocks) if blocks else pa.table({name: pa.nulls(0, pa.string()) for name in LINK.names})
    with duckdb.connect() as connection:
        connection.register("texts", texts)
        columns = ", ".join(
            f"try_cast({text} as double) as {name}" if name in ("score", "probability") else f"{text} as {name}"
            for name in LINK.names
            for text in [f"nullif({name}, '')" if name in texts.column_names else "null::varchar"]
        )
        found = connection.sql(f"select {columns} from texts where right_id <> ''").to_arrow_table()
    if found["probability"].null_count:
        raise SourceError("a row has no number in it.", path=path, column="probability")
    return found


def _thresholds(run: RunRecord, fallback: DecisionConfig) -> DecisionConfig:
    used = {setting.key.removeprefix("matching."): setting.value for setting in run.settings}
    recorded = {name: used[name] for name in DecisionConfig.model_fields if name in used}
    return DecisionConfig.model_validate({**fallback.model_dump(), **recorded})
