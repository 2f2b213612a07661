"""The contestants of ``scripts.compare_peers``, and what measures and scores them.

``registry`` lists the peers; each has a module of its own with ``prepare``, run by ``run`` in a process of its own.
``cases``, ``process`` and ``scoring`` belong to the measuring side and run under the project's interpreter; the peers'
modules, ``answers``, ``names`` and ``run`` also under the peers', so they import nothing of ``enrich_dist``.
"""
