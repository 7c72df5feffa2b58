"""What three primaries of a cluster bring: to many actor systems, and to a hot one that is divided."""

from .plan import measurements

__all__ = ["measurements"]
