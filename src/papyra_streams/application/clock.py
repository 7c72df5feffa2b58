"""The time, as a value that is passed in, so that tests can choose it."""

from collections.abc import Callable

Clock = Callable[[], float]
"""Tells the seconds since the epoch."""
