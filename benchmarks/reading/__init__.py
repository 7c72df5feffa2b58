"""How fast a group's entries are handled, how soon a killed worker's are taken over, and in how much memory."""

from .memory import measure as measure_memory
from .plan import measurements

__all__ = ["measure_memory", "measurements"]
