"""What others on the machine can see of a command: its arguments, as in the list of processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from papyra_streams_contract.secrecy import SECRET

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PROGRAM = str(Path(sys.executable).with_name("papyra-streams"))
SETTINGS = """
from papyra import Settings
from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence

class Production(Settings):
    persistence = RedisStreamsPersistence(RedisStreamsConfig(url={url!r}, driver={driver!r}))
"""


def test_a_command_whose_settings_hold_the_password_shows_it_to_nobody(tmp_path: Path, driver: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://ops:{SECRET}@127.0.0.1:{listener.getsockname()[1]}/0"
        (tmp_path / "production.py").write_text(SETTINGS.format(url=url, driver=driver))
        environment = os.environ | {
            "PAPYRA_SETTINGS_MODULE": "production.Production",
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        }
        with subprocess.Popen([PROGRAM, "scan"], env=environment) as running:
            listener.settimeout(20)
            # It has read its settings by then, and waits for an answer.
            connection, _ = listener.accept()
            with connection:
                seen = {what: seen_of(running.pid, what) for what in ("cmdline", "comm", "environ")}
                running.kill()

    assert "scan" in seen["cmdline"]
    assert [what for what, text in seen.items() if SECRET in text] == []


def seen_of(process_id: int, what: str) -> str:
    return Path("/proc", str(process_id), what).read_bytes().decode(errors="replace")
