"""Measure answers against labelled companies.

``figures``: precision, recall and F1 at every threshold, their intervals, calibration, and the test of two results; it
takes arrays, so any matcher can be measured with it (``scripts/peers`` does).
"""
