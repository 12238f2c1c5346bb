"""Helpers shared by the fast CPU operations."""

IN_THE_CACHE = 8 << 20
"""Bytes that a loop may produce so that the next loop finds them in the cache.

On two cores that share 32 MiB, 4 to 9 MB were equally fast; with less, matrix products are too
small, with more, convolutions took up to three times as long.
"""
