"""Dask clusters: how scheduler and workers are started, reached, secured and scaled."""
