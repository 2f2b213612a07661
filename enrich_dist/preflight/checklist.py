"""The checklist for operators, written from the items: docs/DEPLOYMENT_CHECKLIST.md is what ``checklist`` returns."""

from __future__ import annotations

from enrich_dist.preflight.items import ITEMS, Item

_HEAD = """\
# Deployment checklist

Written from the items of the preflight by `enrich-dist preflight --checklist`: change `enrich_dist/preflight/items.py`,
not this file. `enrich-dist preflight --env production` checks all of it, tells what does not hold, and leaves the
readiness file without which nothing begins in production ([how](how-to/preflight.md)).
"""


def checklist() -> str:
    """The document, as Markdown."""
    critical = [item for item in ITEMS if item.critical]
    others = [item for item in ITEMS if not item.critical]
    return "\n".join(
        [
            _HEAD,
            "## Critical: without these no run begins in production",
            "",
            *map(_line, critical),
            "",
            "## To be looked at",
            "",
            *map(_line, others),
            "",
        ]
    )


def _line(item: Item) -> str:
    return f"- [ ] **{item.title}** (`{item.id}`). {item.why}\n  *If not:* {item.remedy}"
