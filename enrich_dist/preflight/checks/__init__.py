"""The checks of the preflight items, by subject. Each takes the context and returns a finding."""
