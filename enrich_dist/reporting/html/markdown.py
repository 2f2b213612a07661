"""The report as Markdown, for a pull request: what the HTML file says, without its charts and long lists."""

from __future__ import annotations

from enrich_dist.core.markdown import markdown_table
from enrich_dist.reporting.html.facts import RunFacts
from enrich_dist.reporting.html.parts import Section, Table
from enrich_dist.reporting.html.sections import all_sections, headline
from enrich_dist.results import report

_SECTIONS = ("comparison", "steps", "planned", "memory", "trouble")
_MAX_ROWS = 20


def render_markdown(facts: RunFacts) -> str:
    """The written report of the result, after what is of this run: comparison, steps, memory, failures, overrides."""
    sections = {section.key: section for section in all_sections(facts)}
    parts = [
        f"# Run report: {facts.status}",
        headline(facts),
        *(_section(sections[key]) for key in _SECTIONS),
        _settings(facts, sections["settings"]),
        # The result's own report, one level down.
        report.render(facts.metrics, facts.verdict).rstrip("\n").replace("\n## ", "\n### ").replace("# ", "## ", 1),
    ]
    return "\n\n".join(parts) + "\n"


def _settings(facts: RunFacts, section: Section) -> str:
    """The audit line of every override, however many there are; not all settings."""
    lines = (" ".join(item.line.split()).replace("`", "'") for item in facts.settings if item.is_override)
    return "\n\n".join([f"## {section.title}", *section.text, "\n".join(f"- `{line}`" for line in lines)]).rstrip()


def _section(section: Section) -> str:
    tables = [table for _, table in section.charts if table is not None] + list(section.tables)
    return "\n\n".join([f"## {section.title}", *section.text, *(_table(table) for table in tables)])


def _table(table: Table) -> str:
    rows = table.rows[:_MAX_ROWS]
    more = (
        f"\n\n{len(table.rows) - len(rows):,} more rows are in the HTML report." if len(rows) < len(table.rows) else ""
    )
    return f"{table.caption}:\n\n{markdown_table(table.head, rows)}{more}"
