"""Render a report: HTML with its style and scripts inside, or Markdown.

Names of companies are untrusted. The template escapes all text, the charts' JSON contains no "<", and the page's
Content-Security-Policy allows its own scripts only and no request.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources

from enrich_dist.core.tables import Table
from enrich_dist.plain_text import markdown_text, printable
from enrich_dist.reporting.html.contents import all_sections, tiles
from enrich_dist.reporting.html.report_data import ReportData
from enrich_dist.reporting.html.section import Page, Section
from enrich_dist.results.report import awards_sentence, render

TITLE = "SBIR awards and their USAspending recipients"
_MARKDOWN_SECTIONS = ("comparison", "steps", "plan", "memory", "failures")
_MAX_MARKDOWN_ROWS = 20


def render_html(data: ReportData) -> str:
    """Return the report as one HTML file."""
    judged = datetime.fromtimestamp(data.run.finished_seconds, UTC)
    return render_page(
        Page(
            eyebrow="enrich-dist run report",
            title=TITLE,
            badge=data.status,
            is_good=data.passed,
            headline=awards_sentence(data.metrics),
            reasons=tuple(data.verdict["reasons"]),
            tiles=tuple(tiles(data)),
            footer=f"Run {data.run.run_id}, judged {judged:%Y-%m-%d %H:%M} UTC. Result {data.run.result}.",
        ),
        all_sections(data),
    )


def render_page(page: Page, sections: Sequence[Section]) -> str:
    """Return a page with these sections as one HTML file."""
    # Imported here, as only reports need them.
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value, keep="\xa0") if type(value) is str else value,  # Markup is a subclass
    )
    figures = {chart.key: chart.figure for section in sections for chart, _ in section.charts}
    plotly, script = get_plotlyjs(), _resource("page.js")
    return environment.from_string(_resource("page.html.j2")).render(
        page=page,
        sections=sections,
        policy=_content_security_policy(plotly, script),
        style=Markup(_resource("page.css")),
        figures=Markup(_script_safe_json(figures)),
        plotly=Markup(plotly),
        script=Markup(script),
    )


def render_markdown(data: ReportData) -> str:
    """Return the report of the run, then that of its result, as Markdown without charts and long tables."""
    sections = {section.key: section for section in all_sections(data)}
    parts = [
        f"# Run report: {data.status}",
        awards_sentence(data.metrics),
        *(section_markdown(sections[key]) for key in _MARKDOWN_SECTIONS),
        _settings_markdown(data, sections["settings"]),
        # The result's own report, one heading level down.
        render(data.metrics, data.verdict).rstrip("\n").replace("\n## ", "\n### ").replace("# ", "## ", 1),
    ]
    return "\n\n".join(parts) + "\n"


def _settings_markdown(data: ReportData, section: Section) -> str:
    # Every overridden setting, without a limit on their number.
    lines = (f"- {markdown_text(item.line)}" for item in data.settings if item.is_override)
    return "\n\n".join([f"## {section.title}", *map(markdown_text, section.text), "\n".join(lines)]).rstrip()


def section_markdown(section: Section) -> str:
    """Return a section as Markdown, without charts and long tables."""
    tables = [*(table for _, table in section.charts), *section.tables, *section.folded]
    return "\n\n".join([f"## {section.title}", *map(markdown_text, section.text), *map(_table_markdown, tables)])


def _table_markdown(table: Table) -> str:
    shown = Table(table.head, table.rows[:_MAX_MARKDOWN_ROWS])
    hidden = len(table.rows) - len(shown.rows)
    more = f"\n\n{hidden:,} more rows are in the HTML report." if hidden else ""
    return f"{markdown_text(table.caption)}:\n\n{shown.markdown()}{more}"


def _content_security_policy(*scripts: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii") for script in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def _script_safe_json(document: object) -> str:
    """Return JSON in which no text can end the script element."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath("data", name).read_text("utf-8")
