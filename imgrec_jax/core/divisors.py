"""Whole parts of a number."""


def greatest_divisor(number: int, limit: int) -> int:
    """Return the greatest divisor of `number` that is no more than `limit`, and at least 1."""
    return next((k for k in range(min(number, limit), 1, -1) if number % k == 0), 1)
