"""Files and digests, byte stores, DuckDB connections, resource usage: the base of every other layer."""
