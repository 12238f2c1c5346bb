"""Helpers shared by the fast CPU operations."""

IN_THE_CACHE = 8 << 20
"""Bytes that a loop may make for the next one to find in the cache.

Of two cores that share 32 MiB, 4 to 9 MB were alike; with less, matrix products are too small,
with more, convolutions took up to three times as long.
"""
