"""The terminals of one test. A recorder that is asked for sees all of them, made before or after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulators.testing.bench_terminal import BenchTerminal
from simulators.testing.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path


class Bench:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._terminals: list[BenchTerminal] = []
        self._recorder: Recorder | None = None

    def terminal(self, family: str, fault: str | None = None, *, seed: int = 1) -> BenchTerminal:
        """Starts one; ``family`` is zvt, escpos, modem, e_sign, smart, traditional or kiosk."""
        number = len(self._terminals) + 1
        terminal = BenchTerminal(family, self._folder / str(number), number=number, seed=seed)
        terminal.start()
        self._terminals.append(terminal)
        if fault is not None:
            terminal.break_(fault)
        if self._recorder is not None:
            self._recorder.watch(terminal)
        return terminal

    def recorder(self) -> Recorder:
        if self._recorder is None:
            self._recorder = Recorder()
            for terminal in self._terminals:
                self._recorder.watch(terminal)
        return self._recorder

    def stop(self) -> None:
        if self._recorder is not None:
            self._recorder.stop()
        for terminal in self._terminals:
            terminal.stop()
