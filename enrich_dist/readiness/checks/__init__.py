"""The checks of the readiness items, by what they look at. Each takes the situation and returns a finding."""
