"""Texts that control terminals, are markup, or begin a formula in a spreadsheet."""

from __future__ import annotations

from hypothesis import strategies as st

HOSTILE_TEXTS = (
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x9b2Jc1",
    "bidi \u202eGNP.exe \u2066x\u2069",
    "zero\u200bwidth\u2060\ufeff",
    "tags \U000e0041",
    "line\nfeed\r\ttab\x0b\x0c\x85\u2028\u2029",
    "nul\x00\x7f\x08",
    "[bold red]markup[/] [link=http://evil.example]x[/link] :smile:",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[link](javascript:alert(1)) ![image](http://evil.example/x.png) <http://evil.example>",
    "http://evil.example www.evil.example someone@evil.example",
    "| pipe | `code` *a* _b_ __c__ ~~d~~ $e$ \\| \\\\",
    "&lt;b&gt; &#60; &amp;lt; &amp",
    "=1+1",
    '=HYPERLINK("http://evil.example")',
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    '"=1+1',
    "'=1+1",
    "a;=1+1",
    'a;"=1+1"',
    "＝1+1",
    "＋1",
    "－1+1",
    "＠SUM(1)",
    "\ufeff=1+1",
    "lone \udcff surrogate",
)
_PARTS = st.sampled_from(
    [*HOSTILE_TEXTS, *"=+-@＝＋－＠;|`*_[]<>&\\\"'\t\r\n\x1b\x9b\u202e\u200b ", "a", "Ø", "株式会社", "http://", "&lt;"]
)


def hostile_text() -> st.SearchStrategy[str]:
    """Any text, and such parts in any order."""
    return st.one_of(st.lists(_PARTS, max_size=6).map("".join), st.text(max_size=20))
