"""Tests of tests/corpus."""
