"""Checks before a run: the full preflight of a production system, and the admission of every run.

``items`` is the list of checks, each item a function in ``checks``; ``examine`` runs them in a ``context``; ``report``
shows the outcome in the terminal, as Markdown and as JSON; ``gate`` stores it as the readiness file and refuses a
production run without one; ``checklist`` writes docs/DEPLOYMENT_CHECKLIST.md.
"""
