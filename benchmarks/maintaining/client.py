"""A client in a process of its own: ``python -m benchmarks.maintaining.client JOB`` reads, scans, recovers, compacts.

The job is a JSON object: ``config``, the backend's settings, and ``max_age`` in seconds. It prints a JSON object: the
most memory that was resident, in bytes, by the end of each step.
"""

import json
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.models import PersistenceRecoveryConfig, PersistenceRecoveryMode

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence

CONNECTED = "connected"
_QUARANTINE = PersistenceRecoveryConfig(mode=PersistenceRecoveryMode.QUARANTINE)


async def work(job: dict[str, Any]) -> dict[str, int]:
    """Go through everything without a retention policy, then compact with one."""
    config = RedisStreamsConfig(**job["config"])
    peaks = {}
    async with aclosing(RedisStreamsPersistence(config)) as backend:
        await backend.list_events(limit=1)
        peaks[CONNECTED] = _peak()
        await backend.list_events(limit=100)
        peaks["list_events"] = _peak()
        await backend.scan(full=True)
        peaks["scan"] = _peak()
        await backend.recover(_QUARANTINE, full=True)
        peaks["recover"] = _peak()
    policy = RetentionPolicy(max_age_seconds=job["max_age"])
    async with aclosing(RedisStreamsPersistence(config, retention_policy=policy)) as backend:
        await backend.compact()
        peaks["compact"] = _peak()
    return peaks


def _peak() -> int:
    # proc_pid_status(5). What getrusage tells begins with the memory of the process that has started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kilobytes) * 1024


if __name__ == "__main__":
    print(json.dumps(anyio.run(work, json.loads(sys.argv[1]))))  # noqa: T201 -- to the process that has started this one
