"""How software gets onto a device: one interface, whatever the device keeps it in.

    stage    into the place that does not run, gone on with where it was cut; nothing that runs is touched
    switch   to it, on trial: the device goes back by itself when nobody keeps it, with no network and no agent
    keep     what is on trial, or `give_up`

Invariant of every handler: whenever it is cut, the device runs the old or the new, whole.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from device_agent.errors import ActionFailed
from protocol.artifacts import ArtifactKind

# A line of the terminal's service holds 64 KiB; base64 makes four bytes of three.
PIECE: Final = 24 * 1024
# On a terminal.
INSTALLABLE: Final = frozenset({ArtifactKind.PAYMENT_APPLICATION, ArtifactKind.CONFIGURATION, ArtifactKind.DATA})


@dataclass(frozen=True, slots=True)
class Running:
    """``sha256``: of the file that it came from. ``is_up``: it works, as far as the device itself can tell."""

    version: str
    sha256: str
    is_trial: bool
    is_up: bool


class InstallHandler(Protocol):
    """Raises ``DeviceNotAnswering`` and ``ActionFailed``."""

    def running(self) -> Running: ...

    def stage(self, file: Path, sha256: str, length: int, said: Callable[[int], None]) -> None:
        """``said``: bytes that are there by now."""

    def switch(self, sha256: str) -> None: ...

    def keep(self) -> None: ...

    def give_up(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TerminalSlots:
    """A terminal's own two slots, through its service (`device_agent.drivers.terminal`)."""

    device: Any
    kind: ArtifactKind

    def running(self) -> Running:
        said = self.device.software_status(self.kind.value)
        return Running(said.version, said.sha256, said.is_trial, said.is_up)

    def stage(self, file: Path, sha256: str, length: int, said: Callable[[int], None]) -> None:
        have = self.device.software_begin(self.kind.value, sha256, length).have
        with file.open("rb") as opened:
            opened.seek(have)
            while piece := opened.read(PIECE):
                data = base64.b64encode(piece).decode()
                have = self.device.software_write(self.kind.value, have, data).have
                said(have)
        if have != length:
            raise ActionFailed("not_staged", f"the terminal has {have} of {length} bytes")

    def switch(self, sha256: str) -> None:
        self.device.software_activate(self.kind.value, sha256)

    def keep(self) -> None:
        self.device.software_keep(self.kind.value)

    def give_up(self) -> None:
        self.device.software_give_up(self.kind.value)


def handler_for(device: Any, kind: ArtifactKind) -> InstallHandler:
    """Raises ``ActionFailed`` for what this agent cannot install there."""
    if device.family == "terminal" and kind in INSTALLABLE:
        return TerminalSlots(device, kind)
    raise ActionFailed("not_installable", f"software of kind {kind.value} cannot be installed on a {device.family}")
