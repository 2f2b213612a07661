"""Progress of a run: time remaining, partial results, the projected match rate and the early warning."""
