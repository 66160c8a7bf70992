"""The processes of a run, as a service manager keeps them: what ends is started again, unless it is held down.

Several faults may hold the same process down, or still, at once: it is up again when the last of them is over.
Everything is done in the thread that calls, which must be the one that lives as long as the run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

REPOSITORY: Final = Path(__file__).parents[2]
RESTART_AFTER_S: Final = 0.5
_STOP_S: Final = 10.0


class Kept:
    """One process. ``pid`` of a started one is the program's own: prefixes replace themselves by it."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self.command = list(command)
        self.environment = dict(environment or {})
        self.held_down = 0
        self.held_still = 0
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at_s = 0.0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def keep(self) -> None:
        """Starts it when it should be up and is not."""
        if self.held_down or self.pid is not None:
            return
        now_s = time.monotonic()
        if self._process is not None and self._start_at_s == 0.0:
            self._start_at_s = now_s + RESTART_AFTER_S
        if now_s >= self._start_at_s:
            self._start()

    def hold_down(self) -> None:
        """kill -9, and it stays away."""
        self.held_down += 1
        self._signal_all(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            # What is brought back by hand need not wait.
            self._process, self._start_at_s = None, 0.0

    def let_up(self) -> None:
        self.held_down -= 1
        self.keep()

    def hold_still(self) -> None:
        self.held_still += 1
        self._signal_all(signal.SIGSTOP)

    def let_go(self) -> None:
        self.held_still -= 1
        if not self.held_still:
            self._signal_all(signal.SIGCONT)

    def ask_to_end(self) -> None:
        """In order, as a service manager does; `end` waits for it."""
        self.held_down += 1
        self._signal_all(signal.SIGCONT)
        if self._process is not None:
            self._process.terminate()

    def end(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.hold_down()

    def family(self) -> list[psutil.Process]:
        """Itself first, then what it has started."""
        if self.pid is None:
            return []
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        return []

    def has_reached(self, port: int) -> bool:
        """Whether it holds a connection to there."""
        with suppress(psutil.NoSuchProcess):
            held = [one for process in self.family() for one in process.net_connections("tcp")]
            return any(one.status == psutil.CONN_ESTABLISHED and one.raddr.port == port for one in held)
        return False

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self.environment,
                # Ctrl-C is not for it; a session of its own would also put it out of reach of our priority.
                process_group=0,
                cwd=REPOSITORY,
            )
        self.starts += 1
        self._start_at_s = 0.0
