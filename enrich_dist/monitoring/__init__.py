"""Prometheus metrics, incidents and notifications: what operators learn of a run from outside."""
