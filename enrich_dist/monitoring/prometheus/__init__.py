"""Prometheus metrics of a run, while it is active and after it has ended.

``metrics`` defines them, ``updates`` sets them from run events and step records, ``export`` serves, writes or pushes
them, and ``run_monitor`` does all of it for one run. Rules, alerts and the dashboard are in ``deploy/monitoring``.
"""
