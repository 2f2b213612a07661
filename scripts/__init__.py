"""Scripts of this repository that measure and draw; run from its root, not installed."""
