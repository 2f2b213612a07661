"""enrich_dist: link SBIR awards to USAspending recipients on a Dask cluster, judged before it is published."""

__version__ = "0.1.0"
