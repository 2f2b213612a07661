"""Clusters: how a scheduler and its workers are started, reached, secured and scaled."""
