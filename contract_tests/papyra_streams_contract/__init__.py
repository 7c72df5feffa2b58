"""What every driver must do, as tests.

Run them with ``pytest -p papyra_streams_contract.plugin --pyargs papyra_streams_contract --driver NAME``.
"""

import pytest

__all__ = ["needs", "takes_replicaof"]

takes_replicaof = pytest.mark.topologies(
    "standalone", "tls", "acl", "sentinel", reason="a node of a cluster takes no REPLICAOF"
)
"""For tests that make a server follow another one."""


def needs(*capabilities: str) -> pytest.MarkDecorator:
    """Run a test only where the store has these capabilities, fields of `papyra_streams.ports.Capabilities`."""
    return pytest.mark.needs(*capabilities)
