"""The farm: chunks handed out to workers, what becomes of attempts, and who is watched meanwhile."""
