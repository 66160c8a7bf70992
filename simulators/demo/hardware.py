"""What the demo can break and mend: every device of the fleet with the faults it knows, each fault in one place.

A device's own faults belong to its simulator; ``link_down`` to the network between its agent and the broker;
``agent_killed`` to the agent's process. Everything here is called from the demo's main thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from simulators.errors import FaultUnknown
from simulators.tcp_proxy import TcpProxy
from simulators.terminal import SimulatedTerminal

LINK_DOWN = "link_down"
AGENT_KILLED = "agent_killed"


class Breakable(Protocol):
    """A simulated device or line."""

    def known_faults(self) -> frozenset[str]: ...
    def faults(self) -> frozenset[str]: ...
    def apply_fault(self, name: str) -> None: ...
    def clear_fault(self, name: str | None = None) -> None: ...


class AgentProcess(Protocol):
    def is_running(self) -> bool: ...
    def kill(self) -> None: ...
    def start(self) -> None: ...


class NoteKilled(Protocol):
    def __call__(self, *, is_killed: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Link:
    """The network and the agent of one link."""

    network: TcpProxy
    agent: AgentProcess
    note_killed: NoteKilled


class BreakableTerminal:
    """A simulated terminal as something that can be broken."""

    def __init__(self, terminal: SimulatedTerminal) -> None:
        self._terminal = terminal

    def known_faults(self) -> frozenset[str]:
        return frozenset(fault.name for fault in self._terminal.possible_faults())

    def faults(self) -> frozenset[str]:
        return frozenset(self._terminal.faults())

    def apply_fault(self, name: str) -> None:
        self._terminal.apply_fault(name)

    def clear_fault(self, name: str | None = None) -> None:
        self._terminal.clear_fault(name)


@dataclass(frozen=True, slots=True)
class DemoDevice:
    """``aliases``: its id and serial number. An attached device has no link of its own.

    ``unseen``: faults that it can be given but that no page would show; they are not offered.
    """

    key: str
    aliases: frozenset[str]
    hardware: Breakable | None
    link: Link | None
    unseen: frozenset[str] = frozenset()

    def offered_faults(self) -> frozenset[str]:
        """What somebody who looks at the pages may want to break, and what there is to mend."""
        return (self.known_faults() - self.unseen) | self.faults()

    def known_faults(self) -> frozenset[str]:
        own = self.hardware.known_faults() if self.hardware is not None else frozenset()
        # A simulator's own "link_down" is its radio; where there is an agent, its way to the broker is meant.
        return own | ({LINK_DOWN, AGENT_KILLED} if self.link is not None else frozenset())

    def faults(self) -> frozenset[str]:
        present = set(self.hardware.faults()) if self.hardware is not None else set()
        if self.link is not None:
            present |= {LINK_DOWN} if self.link.network.faults.blackhole else set()
            present |= set() if self.link.agent.is_running() else {AGENT_KILLED}
        return frozenset(present)

    def break_(self, name: str) -> None:
        """Raises ``FaultUnknown`` naming what this device knows."""
        if name not in self.known_faults():
            raise FaultUnknown(name, self.known_faults())
        if self.link is not None and name == LINK_DOWN:
            self.link.network.set_faults(blackhole=True)
        elif self.link is not None and name == AGENT_KILLED:
            self.link.note_killed(is_killed=True)
            self.link.agent.kill()
        elif self.hardware is not None:
            self.hardware.apply_fault(name)

    def mend(self, name: str | None) -> None:
        """One fault, or all of them."""
        if name is not None and name not in self.known_faults():
            raise FaultUnknown(name, self.known_faults())
        if self.link is not None and name in {None, LINK_DOWN}:
            self.link.network.heal()
        if self.link is not None and name in {None, AGENT_KILLED} and not self.link.agent.is_running():
            self.link.note_killed(is_killed=False)
            self.link.agent.start()
        if self.hardware is not None and (name is None or name in self.hardware.known_faults()):
            self.hardware.clear_fault(name)
