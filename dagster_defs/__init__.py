"""The pipeline as Dagster sees it: assets, checks, resources and the job. Thin: what they do stands in enrich_dist."""
