"""Benchmarks: generated inputs of any size, and later scenarios, baselines and their comparison.

Covers inputs that load the pipeline as real ones do. Does not cover how well it matches.
"""
