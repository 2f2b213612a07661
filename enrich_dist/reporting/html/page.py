"""The page: one HTML file with its style, its script and plotly's, so that it opens anywhere and asks for nothing.

Names of companies are untrusted: the template escapes all it is given, the figures are JSON without a "<", and the
page's own policy lets run only the scripts it was made with. Covers the page as text. Does not cover what is shown
(``sections``) nor where it is kept (``write``).
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from importlib import resources

from enrich_dist.reporting.html.facts import RunFacts
from enrich_dist.reporting.html.sections import all_sections, headline, tiles

TITLE = "SBIR awards and their USAspending recipients"


def render_page(facts: RunFacts) -> str:
    """The report as HTML."""
    # Only who makes a report pays for what it needs.
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    sections = all_sections(facts)
    figures = {chart.key: chart.figure for section in sections for chart, _ in section.charts}
    plotly, script = get_plotlyjs(), _data("page.js")
    judged = datetime.fromtimestamp(facts.summary.finished_seconds, UTC)
    return environment.from_string(_data("page.html.j2")).render(
        title=TITLE,
        status=facts.status,
        passed=facts.passed,
        headline=headline(facts),
        reasons=facts.verdict["reasons"],
        tiles=tiles(facts),
        sections=sections,
        run_id=facts.summary.run_id,
        result=facts.summary.result,
        judged=f"{judged:%Y-%m-%d %H:%M} UTC",
        policy=_policy(plotly, script),
        style=Markup(_data("page.css")),
        figures=Markup(_harmless_json(figures)),
        plotly=Markup(plotly),
        script=Markup(script),
    )


def _policy(*scripts: str) -> str:
    """Only these scripts run, and nothing is fetched."""
    digests = " ".join(f"'sha256-{_base64_digest(script)}'" for script in scripts)
    return f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def _base64_digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _harmless_json(document: object) -> str:
    """JSON that no name in it can end the script element of."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _data(name: str) -> str:
    return resources.files(__package__).joinpath("data", name).read_text("utf-8")
