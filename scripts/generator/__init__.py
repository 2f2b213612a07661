"""Generated recipients and awards of any size with planted truth, for tests and benchmarks."""
