"""Record linkage without I/O, except the index files.

Steps: normalise names and places (``normalise``), find candidate pairs (``blocking``), compute the comparison vector of
each (``compare``), weigh it (``weights``), derive match probabilities (``decisions``). ``index`` and ``vocabulary``
hold the companies, ``matcher`` runs the steps in a worker, ``kernels`` holds the compiled loops.
"""
