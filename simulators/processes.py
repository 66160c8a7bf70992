"""Child processes that somebody owns: started with a log of their own, stopped in order, never left behind.

A child is in a session of its own, so that Ctrl-C reaches only its owner, and gets SIGTERM when the owner's thread that
started it dies: start children from a thread that lives as long as the owner. An owner whose signal handlers raise
gives a ``hold``, which keeps them from raising between a start and the moment at which the child is known.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

STOP_S = 10.0
_TAIL_BYTES = 4000
Hold = Callable[[], AbstractContextManager[None]]


class Child:
    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        hold: Hold = nullcontext,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment or {})
        self._hold = hold
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs or was never started."""
        return self._process.poll() if self._process is not None else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self._hold(), self.log.open("ab") as log:
            self._process = subprocess.Popen(
                _ending_with_us(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self._environment,
                start_new_session=True,
            )

    def signal_stop(self) -> None:
        if self.is_running() and self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, within_s: float = STOP_S) -> None:
        """SIGTERM, then SIGKILL when it does not end in time."""
        self.signal_stop()
        if self._process is None:
            return
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log_tail(self) -> str:
        """The end of what it said, for the sentence that reports its death."""
        if not self.log.is_file():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            return log.read().decode("utf-8", "replace").strip()


def run_to_end(
    command: Sequence[str],
    *,
    within_s: float,
    hold: Hold = nullcontext,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """What it printed. ``environment``: beside ours.

    Never outlives this call: killed when time is up (``TimeoutExpired``) or a signal raises.
    """
    process: subprocess.Popen[str] | None = None
    try:
        with hold():
            process = subprocess.Popen(
                _ending_with_us(command),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        said, complained = process.communicate(timeout=within_s)
        return subprocess.CompletedProcess(command, process.returncode, said, complained)
    finally:
        if process is not None:
            with process:
                process.kill()


def _ending_with_us(command: Sequence[str]) -> list[str]:
    guard = shutil.which("setpriv")
    return [*([guard, "--pdeathsig", "TERM", "--"] if guard else []), *command]
