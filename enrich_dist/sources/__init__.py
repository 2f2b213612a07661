"""Sources: the SBIR.gov awards file and recipient tables, as tables of ``enrich_dist.schema``.

``read_awards`` and ``read_recipients`` clean the values; ``formats`` has the readers. Of this package only ``inputs``
knows the settings.
"""

from __future__ import annotations

from enrich_dist.sources.awards import check_awards, read_awards
from enrich_dist.sources.recipients import check_recipients, read_recipients

# 4: decimals and floats of Parquet have no fraction of zeros, NaN is null. 5: a repeated header row is rejected, and
# delimiters at the ends of lines are no cells. 6: words for null in every column, placeholders of identifiers, states
# and countries in other notations. 7: names of recipients over time.
ENGINE_VERSION = "7"
"""Version of reading and cleaning: increase it when the same source gives other awards or recipients."""

__all__ = ["ENGINE_VERSION", "check_awards", "check_recipients", "read_awards", "read_recipients"]
