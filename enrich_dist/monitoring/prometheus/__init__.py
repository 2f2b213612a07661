"""A run as Prometheus sees it: what it exposes while it works, and what is left of it afterwards.

``metrics`` names every metric; ``records`` and ``listener`` fill them from the steps' records and the run's events;
``export`` hands them over; ``monitoring`` is the whole, for whoever executes a run. ``prometheus_client`` is imported
only where monitoring is on. Does not cover rules, alerts and dashboard (``deploy/monitoring``).
"""
