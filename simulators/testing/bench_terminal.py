"""One simulated terminal or peripheral for a test: real hardware ends (a pty, a Unix socket), faults by name.

It says nothing by itself: an agent reads it, the recorder's or one connected to a server. Its folder is laid out as the
demo's, so that the same agent configuration fits both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.catalogue.vocabulary import TerminalClass
from simulators.demo.fleet import LineSpec, LinkSpec
from simulators.demo.hardware import Breakable, BreakableTerminal
from simulators.errors import FaultUnknown
from simulators.serial_command import make_peripheral
from simulators.serial_line import SerialLine
from simulators.terminal import SimulatedTerminal
from simulators.testing.errors import FamilyUnknown

if TYPE_CHECKING:
    from simulators.peripherals.peripheral import Peripheral

_BAUD = {"zvt": 9600, "escpos": 19200, "modem": 115200}
_CLASSES = {each.value: each for each in TerminalClass}
FAMILIES = (*_BAUD, *_CLASSES)


class BenchTerminal:
    """``line`` is the pty's path or, for a terminal of its own, the socket of its service.

    `hardware` is the simulated device itself (`SimulatedTerminal` or a peripheral), for looking inside.
    """

    def __init__(self, family: str, folder: Path, *, number: int = 1, seed: int = 1) -> None:
        if family not in FAMILIES:
            raise FamilyUnknown(family, FAMILIES)
        self.family = family
        self.folder = folder
        self.key = f"{family.replace('_', '')}{number}"
        self.seed = seed
        self.is_attached = family in _BAUD
        self.lines = folder / "lines"
        self._before_stop: list[Callable[[], None]] = []
        self.hardware: SimulatedTerminal | Peripheral
        self._broken: Breakable
        self._running: SerialLine | SimulatedTerminal
        if self.is_attached:
            self._attach()
        else:
            self._set_up()

    @property
    def line(self) -> Path:
        return self.lines / (self.line_name if self.is_attached else f"{self.key}/service.sock")

    @property
    def line_name(self) -> str:
        return f"{self.family}0"

    @property
    def terminal_class(self) -> str:
        """Of the link: what is attached stands behind a gateway."""
        return "kiosk" if self.is_attached else self.family

    @property
    def model(self) -> str:
        return "Gateway" if self.is_attached else self._service().model.model

    def link(self) -> LinkSpec:
        """What the agent that reads it has to be told."""
        if not self.is_attached:
            return LinkSpec(self.key, "terminal", model=self.family)
        return LinkSpec(self.key, "none", (LineSpec(self.key, self.line_name, self.family, _BAUD[self.family]),))

    def start(self) -> None:
        self.line.parent.mkdir(parents=True, exist_ok=True)
        self._running.start()

    def before_stop(self, end: Callable[[], None]) -> None:
        """Whoever reads this terminal ends before it does, so that no device is missed that a test put away."""
        self._before_stop.append(end)

    def stop(self) -> None:
        while self._before_stop:
            self._before_stop.pop()()
        self._running.stop()

    def break_(self, fault: str) -> None:
        """Gives it a fault; ``known_faults`` says which there are."""
        if fault not in self.known_faults():
            raise FaultUnknown(fault, self.known_faults())
        self._broken.apply_fault(fault)

    def mend(self, fault: str | None = None) -> None:
        """Takes one fault away, or all of them, as a technician would."""
        self._broken.clear_fault(fault)

    def faults(self) -> frozenset[str]:
        """The causes it has now, by the names of ``known_faults``: not the codes that they show as."""
        return self._broken.faults()

    def known_faults(self) -> frozenset[str]:
        return self._broken.known_faults()

    def _attach(self) -> None:
        peripheral = make_peripheral(self.family)
        line = SerialLine(peripheral, seed=self.seed, link=self.line)
        self.hardware, self._broken, self._running = peripheral, line, line

    def _set_up(self) -> None:
        log = self.line.with_name("payment.log")
        terminal = SimulatedTerminal(_CLASSES[self.family], seed=self.seed, socket_path=self.line, log_path=log)
        self.hardware, self._broken, self._running = terminal, BreakableTerminal(terminal), terminal

    def _service(self) -> SimulatedTerminal:
        if not isinstance(self.hardware, SimulatedTerminal):
            raise TypeError("expected a terminal of its own")
        return self.hardware
