"""The garbage collector waits, and is left as it was."""

import gc
from collections.abc import Iterator

import pytest

from papyra_streams.garbage import uncollected


@pytest.fixture(params=[True, False])
def is_enabled(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Have the collector enabled, or not, as the program around may have chosen."""
    was_enabled = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if was_enabled else gc.disable)()


def test_the_collector_waits_and_is_left_as_it_was(*, is_enabled: bool) -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled() == is_enabled


def test_the_collector_is_left_as_it_was_where_the_step_fails(*, is_enabled: bool) -> None:
    with pytest.raises(ZeroDivisionError), uncollected():
        raise ZeroDivisionError
    assert gc.isenabled() == is_enabled
