"""What counts as a number in an argument: Python takes True for 1, nobody means it."""

from typing import TypeGuard


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a value is a number; NaN and infinity are."""
    return is_whole(value) or isinstance(value, float)
