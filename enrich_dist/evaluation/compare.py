"""Compare two evaluations on the same labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from enrich_dist.evaluation.evaluate import REJECTED, RIGHT, Evaluation
from enrich_dist.evaluation.figures import mcnemar_p_value


@dataclass(frozen=True)
class Comparison:
    """Two results on the companies that both know, by whether each is correct: right, or rightly unmatched.

    ``p_value``: of McNemar's test that both are correct for the same share. ``discordant``: a row per company for
    which one is correct and the other is not, with the outcome and the best recipient of each.
    """

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float
    discordant: pa.Table

    @property
    def companies(self) -> int:
        """Companies that were compared."""
        return self.both + self.only_first + self.only_second + self.neither


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Compare the outcomes of the companies that have a label and were found in both results."""
    columns = ["outcome", "match_probability", "recipient_id", "recipient_name"]
    joined = first.answers.join(
        second.answers.select(["first_row", *columns]), "first_row", join_type="inner", right_suffix="_2"
    ).sort_by("first_row")
    outcomes = [np.array(joined[name].to_pylist(), dtype=object) for name in ("outcome", "outcome_2")]
    ours, theirs = (np.isin(outcome, (RIGHT, REJECTED)) for outcome in outcomes)
    only_first, only_second = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    of_each = [f"{name}_{side}" for side in ("first", "second") for name in columns]
    return Comparison(
        first=first.title,
        second=second.title,
        both=int((ours & theirs).sum()),
        only_first=only_first,
        only_second=only_second,
        neither=int((~ours & ~theirs).sum()),
        p_value=mcnemar_p_value(only_first, only_second),
        discordant=joined.filter(pa.array(ours != theirs))
        .select(["first_row", "company_key", "company_name", *columns, *(f"{name}_2" for name in columns)])
        .rename_columns(["label_row", "company_key", "company_name", *of_each]),
    )
