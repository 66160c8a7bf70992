"""The simulators' own errors: one root, each subclass with a stable code."""

from __future__ import annotations

from typing import ClassVar


class SimulatorError(Exception):
    """Something the person who runs a simulator can act on."""

    code: ClassVar[str] = "simulator_error"


class FaultUnknown(SimulatorError):
    code = "fault_unknown"

    def __init__(self, name: str, known: frozenset[str]) -> None:
        super().__init__(f"fault {name[:64]!r} is not one of: {', '.join(sorted(known))}")
        self.known = known
