"""The password is in nothing that a program may show of its backend, nor in what anything logs at any level.

What all other tests print, log and fail with is looked through as well; see `secrecy`.
"""

import logging
from collections.abc import Iterator

import pytest

from papyra_streams import RedisStreamsPersistence, StreamsError, WritePolicy

from .backends import OpenBackend, event
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

HASTY = WritePolicy(queue_seconds=0.1, close_timeout=0.1)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Have every logger log all that it has, also those that have a level of their own."""
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, name)
    return caplog


async def test_the_password_is_in_nothing_that_is_shown_of_a_backend(
    open_backend: OpenBackend,
    private_server: PrivateServer,
    private_wire: Wire,
    everything_logged: pytest.LogCaptureFixture,
) -> None:
    await private_wire("ACL", "SETUSER", "default", "resetpass", f">{SECRET}")
    backend = open_backend(url=private_server.url_as("default", SECRET))
    await backend.record_event(event(1))
    assert backend.metrics.records_written == 1

    assert SECRET not in everything_logged.text
    assert [shown for shown in _shown_of(backend) if SECRET in shown] == []


@pytest.mark.parametrize("answers", [True, False], ids=["refused", "away"])
async def test_the_password_is_in_nothing_that_is_said_of_a_server_that_cannot_be_used(
    open_backend: OpenBackend,
    private_server: PrivateServer,
    private_wire: Wire,
    everything_logged: pytest.LogCaptureFixture,
    *,
    answers: bool,
) -> None:
    await private_wire("ACL", "SETUSER", "default", "resetpass", f">{SECRET}")
    if not answers:
        private_server.kill()
    backend = open_backend(url=private_server.url_as("default", f"wrong-{SECRET}"), write_policy=HASTY)
    await backend.record_event(event(1))
    assert backend.metrics.write_errors == 1
    with pytest.raises(StreamsError) as raised:
        await backend.scan(full=True)

    assert everything_logged.records
    assert SECRET not in everything_logged.text
    assert [shown for shown in (*_shown_of(backend), *_chain(raised.value)) if SECRET in shown] == []


def _shown_of(backend: RedisStreamsPersistence) -> list[str]:
    parts = (backend, backend.config, backend.metrics, backend.metrics.snapshot(), backend.stats())
    return [text for part in parts for text in (repr(part), str(part))]


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error} {error!r}"
        error = error.__cause__ or error.__context__
