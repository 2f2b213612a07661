"""The runs of a work directory, one beside the other: what each worked on and made, and what changed between two.

Covers the journal of runs that got as far as a judged result. Does not cover the speed of repeated runs (``history``),
nor runs that failed, which Dagster's own history and ``doctor`` tell of.
"""
