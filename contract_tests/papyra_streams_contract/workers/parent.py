"""The parent of the workers: ``python -m papyra_streams_contract.workers.parent``.

It has imported all that a worker needs, and forks one for each line of orders it is sent: fifty processes that each
begin with the imports would take longer than most tests. Sent process ids of workers, it tells how each has ended. When
its input ends, it ends the workers that are left.
"""

import gc
import os
import signal
import sys
import traceback

import anyio
import msgspec

from papyra_streams import RedisStreamsPersistence

from .orders import Orders
from .working import work

_NICENESS = 5

Request = Orders | list[int]
"""Orders for a new worker, answered with its process id; or process ids, answered with their exit codes, some null."""


def main() -> None:
    """Serve requests, each a line of JSON, until there are no more."""
    # Its first call imports what an event loop needs.
    anyio.run(anyio.sleep, 0)
    gc.freeze()
    workers: set[int] = set()
    answer: list[int | None]
    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=Request)
        if isinstance(request, Orders):
            answer = [_fork(request, workers)]
        else:
            answer = [_exit_code(worker, workers) for worker in request]
        sys.stdout.write(f"{msgspec.json.encode(answer).decode()}\n")
        sys.stdout.flush()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)


def _fork(orders: Orders, workers: set[int]) -> int:
    # It imports the driver's client here, once for all workers.
    RedisStreamsPersistence(orders.config)
    process_id = os.fork()
    if not process_id:
        _be_worker(orders)
    workers.add(process_id)
    return process_id


def _exit_code(worker: int, workers: set[int]) -> int | None:
    ended, status = os.waitpid(worker, os.WNOHANG)
    if not ended:
        return None
    workers.discard(worker)
    return os.waitstatus_to_exitcode(status)


def _be_worker(orders: Orders) -> None:
    # Nothing may come back from here: the parent's loop would run twice.
    status = 1
    try:
        _leave_pipes(orders)
        # Fifty workers would leave the server, and the test that harms them, little time.
        os.nice(_NICENESS)
        work(orders)
        status = 0
    except BaseException:  # noqa: BLE001 -- the log is the only place left for it
        traceback.print_exc()
    finally:
        os._exit(status)


def _leave_pipes(orders: Orders) -> None:
    log = os.open(orders.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for taken, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(taken, number)


if __name__ == "__main__":
    main()
