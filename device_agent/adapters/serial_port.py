"""A serial line as a byte port, by pyserial.

Keeps the contract of `drivers.port`: a line that is gone is an OSError, nothing to read in time is `b""`. 8 data bits,
no parity; two stop bits where a peripheral wants them (ZVT). The line is not locked: a worker that takes over from a
hung one must be able to open it.
"""

from __future__ import annotations

import select
import termios
from dataclasses import dataclass, replace

import serial

WRITE_TIMEOUT_S = 3.0


class SerialPort:
    def __init__(self, opened: serial.Serial) -> None:
        self._serial = opened
        self._poll = select.poll()
        self._poll.register(opened.fileno(), select.POLLIN)

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        # pyserial would set the whole line up again for each other timeout.
        if not self._poll.poll(timeout_s * 1000):
            return b""
        waiting: int = self._serial.in_waiting
        return bytes(self._serial.read(max(1, min(waiting, max_bytes))))

    def write(self, data: bytes) -> None:
        self._serial.write(data)

    def close(self) -> None:
        self._serial.close()


@dataclass(frozen=True, slots=True)
class SerialOpener:
    """Opens one line; also at another speed, for a test that looks for the right one."""

    path: str
    baud: int
    stop_bits: int = 1

    def __call__(self) -> SerialPort:
        return open_serial(self.path, self.baud, stop_bits=self.stop_bits)

    def at(self, baud: int) -> SerialOpener:
        return replace(self, baud=baud)


def open_serial(path: str, baud: int, *, stop_bits: int = 1) -> SerialPort:
    """Raises OSError while the line cannot be opened (`serial.SerialException` is one)."""
    try:
        opened = serial.Serial(path, baudrate=baud, stopbits=stop_bits, timeout=0, write_timeout=WRITE_TIMEOUT_S)
    except (ValueError, termios.error) as error:
        raise OSError(22, f"{path}: {error}"[:200]) from error
    return SerialPort(opened)
