"""What a run tells while it works, and who listens: events, terminal progress, the written report."""
