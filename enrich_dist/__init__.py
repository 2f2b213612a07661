"""enrich_dist: link SBIR awards to USAspending recipients on a Dask cluster, judged before it is published.

From Python, four functions do what the command line does; each tells more in its own documentation:

``run``       the whole job: match, judge, publish (``enrich-dist run``)
``open_run``  what a run left: awards, metrics, verdict, settings, report
``link``      any two tables of organisations (``enrich-dist link``)
``plan``      what a run will meet, before it starts (``enrich-dist plan``)

Everything else may change from version to version. Errors are those of ``enrich_dist.errors``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enrich_dist.api import Run, link, open_run, plan, run

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "link", "open_run", "plan", "run"]


def __getattr__(name: str) -> Any:
    """Import the functions when they are first asked for: whatever needs a part of the package imports this module."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("enrich_dist.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
