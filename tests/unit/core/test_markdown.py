"""Text from outside in Markdown and HTML: it is shown as it is, and is no markup."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from enrich_dist.core.tables import Table, make_table, markdown_table, parse_markdown
from enrich_dist.plain_text import from_markdown, markdown_text, printable
from enrich_dist.results.report import render
from tests.conftest import REPOSITORY
from tests.support.hostile_text import HOSTILE_TEXTS, hostile_text

GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# In the tables that the checks of a verdict and all reports have, only these kinds of token may come from a text.
PLAIN = {"text", "text_special", "softbreak"}
# As GitHub finds bare addresses, mentions and mathematics in the source: none of them after a backslash.
BARE = re.compile(r"(?<!\\):(?=//)|(?<=www)\.|(?<!\\)[@$]")


def inline(markdown: str) -> list[list[Token]]:
    return [token.children or [] for token in GITHUB.parse(markdown) if token.type == "inline"]


def shown(tokens: list[Token]) -> str:
    assert {token.type for token in tokens} <= PLAIN
    return "".join(token.content for token in tokens)


def trimmed(text: str) -> str:
    """Spaces at the ends and runs of spaces are not part of Markdown."""
    return re.sub(r" +", " ", printable(text)).strip()


@given(hostile_text())
def test_markdown_shows_the_text(text: str) -> None:
    block = markdown_text(text).strip()
    assert re.match(r"\d+[.)]", block) or {token.type for token in GITHUB.parse(block)} <= {
        "paragraph_open",
        "inline",
        "paragraph_close",
    }
    [tokens] = inline(f"Reason: {markdown_text(text)}.")
    assert trimmed(shown(tokens)) == trimmed(f"Reason: {text}.")
    assert not BARE.search(markdown_text(text))
    assert "<" not in markdown_text(text)


@given(st.lists(st.tuples(hostile_text(), hostile_text()), min_size=1, max_size=4))
def test_cells_of_a_table_are_text(rows: list[tuple[str, str]]) -> None:
    markdown = markdown_table(("a", "b"), rows)
    assert len(markdown.splitlines()) == len(rows) + 2
    cells = [trimmed(shown(tokens)) for tokens in inline(markdown)]
    assert cells == ["a", "b", *(trimmed(cell) for row in rows for cell in row)]


@given(st.lists(st.tuples(hostile_text(), hostile_text()), min_size=1, max_size=4))
def test_a_stored_table_reads_back(rows: list[tuple[str, str]]) -> None:
    table = make_table(("a", "b"), rows)
    stripped = Table(table.head, tuple(tuple(cell.strip() for cell in row) for row in table.rows))
    assert parse_markdown(table.markdown()) == stripped


@given(hostile_text())
def test_from_markdown_undoes_it(text: str) -> None:
    assert from_markdown(markdown_text(text)) == printable(text)


def test_plain_words_need_no_escape() -> None:
    for text in ("match_rate_threshold", "51.3% (+2%)", "Department of Energy", "AT&T, R & D", "a: b", "#5", "1.5-2.5"):
        assert markdown_text(text) == text


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_report_of_a_result_is_text(text: str) -> None:
    metrics: dict[str, Any] = {
        "match_rate": 0.5,
        "awards": {"valid": 2, "matched": 1, "review": 0, "unmatched": 1},
        "companies": {"valid": 2, "matched": 1, "match_rate": 0.5},
        "accuracy": {name: {"estimate": None} for name in ("precision", "recall")},
        "by_method": [{"method": text, "awards": 1, "companies": 1}],
        "by": {"agency": [{"value": text, "awards": 1, "matched": 1, "match_rate": 1.0}]},
        "probability_distribution": [],
        "reconciliation": {"awards": {"read": 1}, "recipients": {"read": 1}},
        "rejects": [{"source_file": text, "outcome": "rejected", "column": text, "reason": text, "count": 1}],
        "shared_identifiers": {
            "count": 1,
            "listed": [{"kind": "uei", "identifier": text, "side": "left", "rows": 2, "names": [text],
                        "name_count": 2}],
        },
        "overrides": {"confirmed": 1, "rejected": 0, "without_effect": [text], "without_effect_count": 1},
        "model": {
            "recipients": 1, "identified_pairs": 1, "partner_share": 0.5, "blocks_left_out": 0, "pairs_left_out": 0,
            "name": [], "place": [], "street": [], "uei": [], "duns": [],
        },
    }  # fmt: skip
    verdict = {"status": "blocked", "reasons": [text], "checks": [{"name": "x", "passed": False, "reason": text}]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("enrich_dist.results.report.model_table", lambda _: make_table(("a",), [("b",)]))
        report = render(metrics, verdict)
    assert printable(report, keep="\n") == report
    for tokens in inline(report):
        assert {token.type for token in tokens} <= {*PLAIN, "strong_open", "strong_close"}
    headings = [token for token in GITHUB.parse(report) if token.type == "heading_open"]
    assert len(headings) == report.count("\n## ") + 1


def test_each_medium_has_one_writer() -> None:
    """Rows of Markdown tables, CSV files and workbooks are written in one module each."""
    writers = {'" | "': "core/tables.py", "write_csv(": "core/table_files.py", "xlsxwriter": "core/table_files.py"}
    for path in (REPOSITORY / "enrich_dist").rglob("*.py"):
        code = path.read_text("utf-8")
        for what, writer in writers.items():
            assert what not in code or path == REPOSITORY / "enrich_dist" / writer, f"{path}: {what}"
