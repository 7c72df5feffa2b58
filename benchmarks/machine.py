"""On what the figures were measured."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .cores import Cores

# coredis brings a parser of its own that is compiled; the other two use the package that follows them here.
_PACKAGES = (
    "papyra-streams", "papyra", "redis", "hiredis", "valkey", "libvalkey", "coredis", "anyio", "orjson", "msgspec"
)  # fmt: skip


def facts(cores: Cores) -> dict[str, object]:
    """Return what of the machine and the installation has a part in the figures."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "pinned to": {"server": cores.server, "client": cores.client},
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "garbage collector": "as Python sets it; collected once before each measurement",
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
