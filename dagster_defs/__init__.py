"""Dagster assets, checks, resources and the job. Thin: the work is done in ``enrich_dist``."""
