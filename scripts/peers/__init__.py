"""Other record-linkage tools, run and scored by ``scripts.compare_peers``.

``methods`` lists the peers; ``run`` runs one of them in its own process. ``cases`` and ``scoring`` run under the
project's interpreter. ``methods``, ``splink_companies``, ``answers`` and ``run`` run under the peers' interpreter, so
they import nothing of ``enrich_dist``.
"""
