"""Failovers: servers of which another one takes over, traffic meanwhile, and the account of every record."""
