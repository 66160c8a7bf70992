"""A real mosquitto as a child process: found on PATH, in Debian's place, or unpacked beside the checkout.

The configuration is text made by `protocol.broker_rules`; whoever starts the broker owns it and stops it.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from simulators.errors import SimulatorError

_UNPACKED = Path(__file__).resolve().parents[1] / ".tools" / "mosquitto"


class BrokerMissing(SimulatorError):
    code = "broker_missing"


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """The program, and what its environment needs beside ours."""

    program: str
    environment: dict[str, str]

    def command(self, configuration: Path) -> list[str]:
        return [self.program, "-c", str(configuration)]


def find_mosquitto() -> Mosquitto:
    """Raises ``BrokerMissing`` with the way to get it."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    if (program := shutil.which("mosquitto", path=path)) is not None:
        return Mosquitto(program, {})
    if (found := unpacked_mosquitto(_UNPACKED)) is not None:
        return found
    raise BrokerMissing("mosquitto is not installed: apt-get install mosquitto, or run 'make run', which sees to it")


def unpacked_mosquitto(root: Path) -> Mosquitto | None:
    """From Debian's packages under ``root``, with the libraries that came with it."""
    program = root / "usr" / "sbin" / "mosquitto"
    if not program.is_file():
        return None
    folders = [folder for lib in ("usr/lib", "lib") for folder in sorted(root.glob(f"{lib}/*-linux-*"))]
    return Mosquitto(str(program), {"LD_LIBRARY_PATH": os.pathsep.join(map(str, folders))})


def free_port() -> int:
    """A port that was free a moment ago on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_free(host: str, port: int) -> bool:
    """Raises ``OSError`` for an address that is none of this machine's."""
    try:
        with socket.create_server((host, port)):
            return True
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
