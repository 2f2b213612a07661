"""What stands on disk or in an object store: whole files, directories made once, checkpoints, the run directory."""
