"""A keeper of software before a tenant's repository, driven look by look, on a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from device_agent.core.ports import Dice
from device_agent.software.keeper import Bounds, SoftwareKeeper
from fleet_server.kit.times import to_ms, utc_now
from tests.support.software import APP, Software
from tests.support.software_source import StoreSource

CONTENT = bytes(range(256)) * 20
DICE = Dice(lambda: 0.5, lambda: "0" * 32)


@dataclass
class Rig:
    folder: Path
    software: Software
    bounds: Bounds = field(default_factory=lambda: Bounds(10_000_000, 0))

    def __post_init__(self) -> None:
        self.source = StoreSource(self.software.store)
        self.pin: str | None = self.software.pin
        self.ahead_ms = 0
        self.start_again()

    def start_again(self) -> None:
        """As after ``kill -9``: only what is on disk is left."""
        self.keeper = SoftwareKeeper(
            self.folder / "software",
            self.folder / "guard" / "software",
            self.source,
            lambda: self.pin,
            lambda: to_ms(self.software.now) + self.ahead_ms,
            DICE,
            self.bounds,
        )
        # Looks are the test's own.
        self.keeper._begin = lambda: None  # type: ignore[method-assign]  # no thread

    def fetch(self, path: str = APP) -> None:
        self.keeper.want(path)
        self.keeper.look()


def rig_with(folder: Path, content: bytes = CONTENT) -> Rig:
    software = Software(folder / "server", utc_now())
    software.release(content)
    return Rig(folder / "agent", software)
