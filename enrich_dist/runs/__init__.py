"""Records of runs, and what they show together: baseline comparison, drift, trend and run diff.

Covers runs that produced a judged result. Does not cover failed runs (Dagster's run history, ``enrich-dist doctor``).
"""
