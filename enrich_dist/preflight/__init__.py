"""Checks before a run: the full preflight for production, and the admission of every run.

``catalog`` lists the checks in order. ``runner`` applies their cheap part to every run and to ``config validate``, and
runs all of them in a ``context``. ``report`` renders the results; ``readiness_file`` stores them and refuses production
runs without them.
"""
