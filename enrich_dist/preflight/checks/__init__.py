"""The functions of the checks, by subject. Each takes the context and returns an outcome."""
