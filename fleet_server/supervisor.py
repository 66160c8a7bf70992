"""Owns the server's processes: starts them, starts again the ones that die, stops all of them in order.

A child that ends with exit code 2 before all are up has said in one sentence what a person must put right: the whole
start fails with that sentence, as it does with a refusal that ``is_ready`` raises. Later every death is answered by a
new start, 1 s after the first and up to 30 s apart.

What children print goes into bounded files under ``DATA/logs``. Ctrl-C reaches only the supervisor; children get
SIGTERM from it, or from the kernel when it is killed. What the processes do is left to `fleet_server.commands`.
"""

from __future__ import annotations

import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO, ClassVar

from fleet_server.bounded_log import BoundedLog
from fleet_server.errors import FleetError

STOP_S = 10.0
REFUSED = 2
_FIRST_DELAY_S = 1.0
_CAP_DELAY_S = 30.0
_HEALTHY_AFTER_S = 60.0
_LOOK_EVERY_S = 1.0
_LAST_WORDS_S = 1.0
_STARTING_LOOK_EVERY_S = 0.1


class ChildRefused(FleetError):
    """A process said that it cannot start, and why."""

    code: ClassVar[str] = "child_refused"


@dataclass(slots=True)
class RestartDelay:
    """Doubles from death to death; forgets after a minute of health."""

    delay_s: float = _FIRST_DELAY_S

    def after_death(self, lived_s: float) -> float:
        """How long to wait before the next start."""
        if lived_s >= _HEALTHY_AFTER_S:
            self.delay_s = _FIRST_DELAY_S
        wait_s, self.delay_s = self.delay_s, min(self.delay_s * 2, _CAP_DELAY_S)
        return wait_s


@dataclass(frozen=True, slots=True)
class ChildSpec:
    name: str
    command: Sequence[str]


@dataclass(slots=True)
class Child:
    spec: ChildSpec
    log: BoundedLog
    process: subprocess.Popen[bytes] | None = None
    pump: Thread | None = None
    started_s: float = 0.0
    start_at_s: float = 0.0
    delay: RestartDelay = field(default_factory=RestartDelay)

    def start(self, now_s: float) -> None:
        guard = shutil.which("setpriv")
        prefix = [guard, "--pdeathsig", "TERM", "--"] if guard else []
        self.process = subprocess.Popen(
            [*prefix, *self.spec.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started_s = now_s
        if self.process.stdout is not None:
            self.pump = Thread(target=_pump, args=(self.process.stdout, self.log), daemon=True)
            self.pump.start()

    def take_exit_code(self) -> int | None:
        """Once for each death."""
        code = self.process.poll() if self.process is not None else None
        if code is not None:
            self.process = None
            if self.pump is not None:
                # Its last words are wanted; a grandchild may hold the pipe open for ever.
                self.pump.join(_LAST_WORDS_S)
        return code


class Supervisor:
    """``is_ready`` is asked until it answers true; ``say`` prints for people; ``on_hour`` may ask for new processes."""

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        logs_dir: Path,
        *,
        is_ready: Callable[[], bool],
        say: Callable[[str], None],
        on_ready: str,
        on_hour: Callable[[], bool] = lambda: False,
    ) -> None:
        self._children = [Child(spec, BoundedLog(logs_dir / f"{spec.name}.log")) for spec in specs]
        self._is_ready_yet = is_ready
        self._say = say
        self._on_ready = on_ready
        self._on_hour = on_hour
        self._is_up = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises ``ChildRefused`` when the first start fails."""
        with _caught_signals() as wakeup:
            try:
                self._run(wakeup)
            finally:
                self._stop()

    def _run(self, wakeup: socket.socket) -> None:
        signals: set[int] = set()
        next_hour_s = time.monotonic() + 3600
        while not signals & {signal.SIGTERM, signal.SIGINT}:
            now_s = time.monotonic()
            self._tend(now_s)
            if not self._is_up and self._is_ready_yet():
                self._is_up = True
                self._say(self._on_ready)
            if now_s >= next_hour_s:
                next_hour_s = now_s + 3600
                self._hourly()
            signals = _await_signals(wakeup, _LOOK_EVERY_S if self._is_up else _STARTING_LOOK_EVERY_S)
        self._say("Stopping …")

    def _tend(self, now_s: float) -> None:
        for child in self._children:
            code = child.take_exit_code()
            if code is not None:
                self._on_death(child, code, now_s)
            if child.process is None and now_s >= child.start_at_s:
                child.start(now_s)

    def _on_death(self, child: Child, code: int, now_s: float) -> None:
        if code == REFUSED and not self._is_up:
            said = child.log.last_line().removeprefix("fleet-server: ")
            raise ChildRefused(said or f"{child.spec.name} refused to start, see {child.log.path}")
        wait_s = child.delay.after_death(now_s - child.started_s)
        child.start_at_s = now_s + wait_s
        self._say(f"{child.spec.name} ended with {code}, starts again in {wait_s:g} s; see {child.log.path}")

    def _hourly(self) -> None:
        if self._on_hour():
            for child in self._children:
                if child.process is not None:
                    child.process.terminate()

    def _stop(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        give_up_s = time.monotonic() + STOP_S
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, give_up_s - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()


def _pump(source: IO[bytes], log: BoundedLog) -> None:
    with source:
        for line in source:
            log.write(line)


@contextmanager
def _caught_signals() -> Iterator[socket.socket]:
    """Signals become bytes in a socket: unlike a blocked mask, that is not inherited by children."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)


def _await_signals(wakeup: socket.socket, within_s: float) -> set[int]:
    if select.select([wakeup], [], [], within_s)[0]:
        return set(wakeup.recv(256))
    return set()
