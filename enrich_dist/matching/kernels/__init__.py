"""Compiled loops over text and posting lists: everything of matching that would else be a Python loop over rows.

Each module works on plain NumPy arrays (bytes and offsets of Arrow text, integer codes) and knows no Arrow, no file
and no setting. Compiled by numba on first use and kept in its cache beside the source (or the user's cache directory
where that is read-only); `make` compiles once at set-up, so that no run waits for it.

All arithmetic is in whole numbers: the same on every processor. Texts are told apart by 64-bit hashes (``text``);
two of the some 10**5 texts of an index and 10**8 of a table collide with a probability of about 10**-6.
"""
