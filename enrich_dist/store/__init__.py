"""The files of a run: artifacts, checkpoints, the run directory and its lock."""
