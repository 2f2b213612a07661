"""Text from outside, made safe for what people read it with: a terminal or log, Markdown, a spreadsheet.

Names, values, paths and messages of other programs may contain control characters, markup and formulas. Each medium has
one function here, and one writer that applies it: ``core.console`` (terminal), ``core.tables`` (Markdown),
``core.table_files`` (spreadsheets); ``errors`` and ``events`` apply ``printable`` to what they say. HTML is escaped by
its template (``reporting.html.render``).
"""

from __future__ import annotations

import html
import re
from typing import Final

# What Markdown renderers interpret: blocks, emphasis, code, links, images, HTML, entities, mathematics, mentions and
# bare addresses. Underscores inside of words are text.
_MARKDOWN: Final = re.compile(
    r"[\\`*\[\]|~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|^[-+#=>](?=[-+#=>]*(?:\s|$))|^>"
    r"|(?P<entity><|&(?=#?\w+;))",
    re.IGNORECASE,
)
_MARKDOWN_ESCAPE: Final = re.compile(r"\\([!-/:-@\[-`{-~])|&(?:lt|amp);")
# A spreadsheet evaluates a cell that begins so, also in full width. A program that separates columns by semicolons
# begins a cell after each. Plain numbers are no formulas.
_FORMULA: Final = re.compile(r"""(^|;)([\s"']*(?=[=+\-@＝＋－＠])(?![+-]\d[\d.,]*%?\s*(?:$|;)))""")
RISKY_IN_SPREADSHEET: Final = r"""\pC|[^\PZ ]|(^|;)[\s"']*[=+\-@＝＋－＠]"""
"""RE2: finds every text that ``spreadsheet_text`` changes, and few others."""


def printable(text: str, keep: str = "") -> str:
    r"""Return the text with escapes such as ``\x1b`` for all characters that are not printable, except ``keep``.

    Those are control characters (C0, C1), marks that change the direction of text or have no width, line separators
    and invalid Unicode; also line feeds and tabs.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )


def markdown_text(text: str) -> str:
    """Return Markdown that shows the text, in one line and without any markup."""
    return _MARKDOWN.sub(lambda found: html.escape(found[0]) if found["entity"] else "\\" + found[0], printable(text))


def from_markdown(markdown: str) -> str:
    """Return the text that ``markdown_text`` got."""
    return _MARKDOWN_ESCAPE.sub(lambda found: found[1] or html.unescape(found[0]), markdown)


def spreadsheet_text(text: str) -> str:
    """Return the text with an apostrophe where a spreadsheet would begin a formula, without control characters."""
    return _FORMULA.sub(r"\1'\2", printable(text))


def from_spreadsheet(cell: str) -> str:
    """Return the key of printable characters that ``spreadsheet_text`` got."""
    return cell[1:] if cell.startswith("'") and spreadsheet_text(cell[1:]) == cell else cell


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would evaluate a part of the text."""
    return any("'" not in found[2] for found in _FORMULA.finditer(text))
