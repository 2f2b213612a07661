"""The steps of a run as functions over files, the tasks for the farm, and linking of two tables."""
