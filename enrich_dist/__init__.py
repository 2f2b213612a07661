"""enrich_dist: link SBIR awards to USAspending recipients on a Dask cluster, with a quality gate before publication.

The Python API has four functions, which do what the command line does:

``run``       run the whole job: match, judge, publish (``enrich-dist run``)
``open_run``  open the latest run: awards, metrics, verdict, settings, report
``link``      link any two tables of organisations (``enrich-dist link``)
``plan``      estimate a run before it starts (``enrich-dist plan``)

They raise the errors of ``enrich_dist.errors``. Everything else may change from version to version.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enrich_dist.api import Run, link, open_run, plan, run

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "link", "open_run", "plan", "run"]


def __getattr__(name: str) -> Any:
    """Import the functions on first use, so that importing a part of the package stays fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("enrich_dist.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
