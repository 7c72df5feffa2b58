"""What counts as a number in an argument (Python takes True for 1, nobody means it), and which are taken."""

from typing import TypeGuard

from papyra_streams.errors import InvalidValue

# Far beyond any use, and within what every server and event loop takes.
LARGEST = 2**31 - 1


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a value is a number; NaN and infinity are."""
    return is_whole(value) or isinstance(value, float)


def check_count(name: str, value: object, *, at_most: int | None = None) -> None:
    """Check how many of something there may be.

    :raises InvalidValue: if it is no whole number, or less than 1
    """
    if not is_whole(value) or value < 1 or (at_most is not None and value > at_most):
        limit = "" if at_most is None else f" to {at_most}"
        raise InvalidValue(f"`{name}` must be a whole number from 1{limit}, not {value!r}.")


def check_seconds(name: str, value: object, *, at_least: float = 0.0) -> None:
    """Check how long something may take.

    :raises InvalidValue: if it is no number, or not greater than 0
    """
    if not is_number(value) or not 0 < value <= LARGEST:
        raise InvalidValue(f"`{name}` must be a number of seconds greater than 0, up to {LARGEST}, not {value!r}.")
    if value < at_least:
        raise InvalidValue(f"`{name}` must be at least {at_least:g} seconds, not {value!r}.")


def check_number_of_seconds(name: str, value: object) -> None:
    """Check how long something may take that may take no time at all.

    :raises InvalidValue: if it is no number, or less than 0
    """
    if value != 0 or isinstance(value, bool):
        check_seconds(name, value)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Check which of a few words is chosen.

    :raises InvalidValue: if it is none of them
    """
    if value not in choices:
        *others, last = map(repr, choices)
        raise InvalidValue(f"`{name}` must be {', '.join(others)} or {last}, not {value!r}.")
