"""Files and digests, byte stores, DuckDB connections, resource usage: what every other layer builds on."""
