"""Sources: the SBIR.gov awards file and recipient tables, as tables of ``enrich_dist.schema``.

``read_awards`` and ``read_recipients`` clean the values; ``formats`` has the readers. Of this package only ``inputs``
knows the settings.
"""

from __future__ import annotations

from enrich_dist.sources.awards import check_awards, read_awards
from enrich_dist.sources.recipients import check_recipients, read_recipients

ENGINE_VERSION = "3"
"""Version of reading and cleaning: increase it when the same source gives other awards or recipients."""

__all__ = ["ENGINE_VERSION", "check_awards", "check_recipients", "read_awards", "read_recipients"]
