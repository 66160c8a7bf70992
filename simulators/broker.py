"""A real mosquitto as a child process: found on PATH, in Debian's place, or unpacked beside the checkout.

The configuration is text made by `protocol.broker_rules`; whoever starts the broker owns it and stops it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from simulators.errors import SimulatorError

_GIVEN_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUALLY_GIVEN_FROM = 32_768
# Below are those that services are known by.
_LOWEST_PORT = 12_000
_PORT_TRIES = 100
_UNPACKED = Path(__file__).resolve().parents[1] / ".tools" / "mosquitto"


class BrokerMissing(SimulatorError):
    code = "broker_missing"


class NoFreePort(SimulatorError):
    code = "no_free_port"


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
    """A port that was free a moment ago on loopback, none that the kernel gives to a connection meanwhile."""
    lowest_given = _lowest_given_port()
    for _ in range(_PORT_TRIES):
        port = _LOWEST_PORT + secrets.randbelow(lowest_given - _LOWEST_PORT)
        if is_free("127.0.0.1", port):
            return port
    raise NoFreePort(f"expected a free port of {_LOWEST_PORT} to {lowest_given - 1}, {_PORT_TRIES} were in use")


def _lowest_given_port() -> int:
    """From where on the kernel takes ports for whoever connects or asks for any."""
    try:
        lowest = int(_GIVEN_PORTS.read_text("ascii").split()[0])
    except OSError:
        lowest = _USUALLY_GIVEN_FROM
    return lowest if lowest > 2 * _LOWEST_PORT else _USUALLY_GIVEN_FROM


def is_free(host: str, port: int) -> bool:
    """Raises ``OSError`` for an address that is none of this machine's."""
    try:
        with socket.create_server((host, port)):
            return True
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
