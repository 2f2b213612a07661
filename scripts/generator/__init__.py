"""Benchmarks: generated inputs of any size with planted truth, and later scenarios, baselines and their comparison.

Covers inputs that load the pipeline as real ones do and tell which matches are right. Does not cover the measuring.
"""
