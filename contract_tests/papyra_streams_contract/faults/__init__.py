"""An actor system that records while something goes wrong, and the account of what became of its records."""
