"""Compiled loops over text and posting lists, on plain NumPy arrays (bytes and offsets of Arrow text, integer codes).

numba compiles them on first use into its cache next to the source, or in the user's cache directory if that is
read-only; `make` compiles them at set-up.

All arithmetic is on integers and equal on every processor. Texts are compared by 64-bit hashes (``text``): among 10**5
texts of an index and 10**8 of a table, the probability of a collision is about 10**-6.
"""
