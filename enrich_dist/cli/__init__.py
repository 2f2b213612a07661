"""The command line: one small module per group of commands, without logic of its own."""
