"""What runs took, kept over time: a record per finished run, held against a baseline and read as a trend.

Covers the record, the archive it lies in, the statistics on records, and repeated runs that make some. Does not cover
the measuring of a step (``meter``, ``store.rundir``), generated inputs (``bench``), nor who is told of a regression
(``observe.notify``).
"""
