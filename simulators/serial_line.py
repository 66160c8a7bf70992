"""Puts a simulated peripheral on a line real programs can open: a pty behind a stable link, a TCP port, or both.

`cut` takes the cable out: the link stays, no byte passes, nothing is stored meanwhile. `unplug` takes the adapter out:
link and pty are gone and whoever had it open gets a hang-up. `plug` puts either back. Noise and loss are seeded, so a
failure can be repeated. Invariants: the thread ends with `stop`; a program that opens, closes and
opens the line again never disturbs it (we keep the far end open ourselves); a reader that does not read loses bytes,
which are counted, and never blocks us.
"""

from __future__ import annotations

import os
import pty
import random
import selectors
import socket
import threading
import time
import tty
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from simulators.errors import FaultUnknown
from simulators.peripherals.fault_effects import LINE_EFFECTS, PRINTER_LINE_EFFECTS, LineEffect
from simulators.peripherals.peripheral import Channel, ChannelKind, FaultSwitches, Peripheral

if TYPE_CHECKING:
    from types import TracebackType

READ_BYTES = 4096
# How late what a device says by itself may be; small enough to pass for at once.
TICK_S = 0.05
MAX_TCP_CLIENTS = 8


@dataclass(slots=True)
class _Ends:
    """One open way to the peripheral: the pty's master, or a TCP connection."""

    fd: int
    channel: Channel
    connection: socket.socket | None = None


class SerialLine:
    def __init__(
        self, peripheral: Peripheral, *, seed: int, link: Path | None = None, tcp: tuple[str, int] | None = None
    ) -> None:
        self.peripheral = peripheral
        self.seed = seed
        self.lost_bytes = 0
        self.tcp_address: tuple[str, int] | None = None
        self._link = link
        self._tcp = tcp
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        table = LINE_EFFECTS | (PRINTER_LINE_EFFECTS if peripheral.family == "escpos" else {})
        self._switches: FaultSwitches[LineEffect] = FaultSwitches(table, self._lock)
        self._noise_share = 0.0
        self._drop_share = 0.0
        self._is_cut = False
        self._is_unplugged = False
        self._selector = selectors.DefaultSelector()
        self._ends: list[_Ends] = []
        self._slave_fd: int | None = None
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def path(self) -> str:
        """Where a program opens the line."""
        if self._link is not None:
            return str(self._link)
        return os.ttyname(self._slave_fd) if self._slave_fd is not None else ""

    @property
    def _has_pty(self) -> bool:
        return self._link is not None or self._tcp is None

    def start(self) -> None:
        """Raises OSError when link or port cannot be had; then nothing is left behind."""
        try:
            self._open()
        except OSError:
            self.stop()
            raise
        self._thread = threading.Thread(target=self._serve, name=f"line-{self.peripheral.family}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        for ends in list(self._ends):
            self._drop_ends(ends)
        self._close_pty()
        if self._listener is not None:
            self._listener.close()
        self._selector.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def cut(self) -> None:
        self._is_cut = True

    def unplug(self) -> None:
        self._is_unplugged = True

    def plug(self) -> None:
        self._is_cut = self._is_unplugged = False

    def set_noise(self, *, damaged_share: float = 0.0, dropped_share: float = 0.0) -> None:
        """Shares of bytes, 0 to 1, that arrive changed or not at all, in both directions."""
        self._noise_share, self._drop_share = damaged_share, dropped_share

    def known_faults(self) -> frozenset[str]:
        return self._switches.known() | self.peripheral.known_faults()

    def faults(self) -> frozenset[str]:
        return self._switches.names() | self.peripheral.faults()

    def apply_fault(self, name: str) -> None:
        """A cause on the line or in the device, whichever knows the name."""
        if name in self._switches.known():
            self._switches.apply(name)
        elif name in self.peripheral.known_faults():
            self.peripheral.apply_fault(name)
        else:
            raise FaultUnknown(name, self.known_faults())

    def clear_fault(self, name: str | None = None) -> None:
        if name is None:
            self._switches.clear(None)
            self.peripheral.clear_fault()
        elif name in self._switches.known():
            self._switches.clear(name)
        elif name in self.peripheral.known_faults():
            self.peripheral.clear_fault(name)
        else:
            raise FaultUnknown(name, self.known_faults())

    def _open(self) -> None:
        if self._has_pty:
            self._open_pty()
        if self._tcp is not None:
            self._listener = socket.create_server(self._tcp)
            self._listener.setblocking(False)
            self.tcp_address = self._listener.getsockname()[:2]
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _open_pty(self) -> None:
        master, slave = pty.openpty()
        # The far end stays open on our side too, else the last program's close would hang the master up.
        self._slave_fd = slave
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._add_ends(_Ends(master, self.peripheral.open_channel(ChannelKind.SERIAL)))
        if self._link is not None:
            beside = self._link.with_name(f".{self._link.name}.{os.getpid()}")
            beside.unlink(missing_ok=True)
            beside.symlink_to(os.ttyname(slave))
            beside.replace(self._link)

    def _close_pty(self) -> None:
        for ends in [each for each in self._ends if each.connection is None]:
            self._drop_ends(ends)
        if self._slave_fd is not None:
            os.close(self._slave_fd)
            self._slave_fd = None
        if self._link is not None and self._link.is_symlink():
            self._link.unlink()

    def _follow_the_adapter(self) -> None:
        """Ptys are opened and closed by the serving thread alone, so that no reader meets a closed one."""
        is_gone = self._is_unplugged or any(effect.is_gone for effect in self._switches.effects())
        if is_gone and self._slave_fd is not None:
            self._close_pty()
        elif not is_gone and self._slave_fd is None and self._has_pty:
            self._open_pty()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self._follow_the_adapter()
            for key, _ in self._selector.select(TICK_S):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pump(key.data)
            now_s = time.monotonic()
            for ends in list(self._ends):
                self._send(ends, ends.channel.tick(now_s))

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:
            # The caller hung up between ringing and our answering.
            return
        if len(self._ends) > MAX_TCP_CLIENTS:
            connection.close()
            return
        connection.setblocking(False)
        channel = self.peripheral.open_channel(ChannelKind.TCP)
        self._add_ends(_Ends(connection.fileno(), channel, connection))

    def _pump(self, ends: _Ends) -> None:
        try:
            data = os.read(ends.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            if ends.connection is not None:
                self._drop_ends(ends)
            return
        arrived = self._carry(data)
        if arrived:
            self._send(ends, ends.channel.receive(arrived, time.monotonic()))

    def _send(self, ends: _Ends, data: bytes) -> None:
        carried = self._carry(data)
        if not carried:
            return
        try:
            written = os.write(ends.fd, carried)
        except BlockingIOError:
            written = 0
        except OSError:
            if ends.connection is not None:
                self._drop_ends(ends)
            written = 0
        self.lost_bytes += len(carried) - written

    def _carry(self, data: bytes) -> bytes:
        """What is left of the bytes at the other end of the cable."""
        effects = self._switches.effects()
        if self._is_cut or any(effect.is_cut for effect in effects):
            return b""
        damaged_share = max([self._noise_share, *(effect.damaged_share for effect in effects)])
        if not damaged_share and not self._drop_share:
            return data
        out = bytearray()
        for byte in data:
            if self._random.random() < self._drop_share:
                continue
            damaged = self._random.random() < damaged_share
            out.append(self._random.randrange(256) if damaged else byte)
        return bytes(out)

    def _add_ends(self, ends: _Ends) -> None:
        self._ends.append(ends)
        self._selector.register(ends.fd, selectors.EVENT_READ, ends)

    def _drop_ends(self, ends: _Ends) -> None:
        if ends not in self._ends:
            return
        self._ends.remove(ends)
        self._selector.unregister(ends.fd)
        if ends.connection is not None:
            ends.connection.close()
        else:
            os.close(ends.fd)
