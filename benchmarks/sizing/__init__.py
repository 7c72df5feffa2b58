"""How many bytes a record takes on the server, in memory and on disk, and what lies beside it."""

from .plan import measure
from .table import rows

__all__ = ["measure", "rows"]
