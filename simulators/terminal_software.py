"""What a simulated terminal has installed: two slots for each kind of software, one of them runs.

A terminal tries what is new: until it is told to keep it, a restart or the end of `TRIAL_S` brings the former one back,
with nobody asked. Everything here is on its disk, and each change of it one write; `cut_before` makes the power fail
before a write, counted from now, so that every moment of an installation can be cut.

A payment application is a file that begins with ``TMAPP VERSION``; with ``TMAPP VERSION broken`` it does not come up. A
configuration is JSON: ``{"version": ..., "values": {...}}``. A data file begins with ``TMDATA VERSION``.

Invariant: what runs is one slot's whole content, with the hash that it was activated by, or what the factory installed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulators.terminal import SimulatedTerminal

KINDS = ("payment_application", "configuration", "data")
TRIAL_S = 180.0
MAX_CONTENT = 64 * 1024 * 1024
BROKEN = "broken"


class PowerCut(Exception):
    """The power failed in the middle of a call: nobody gets an answer."""


class SlotRefused(Exception):
    """With the code that goes into the answer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(slots=True)
class Slot:
    """``is_whole``: its content was judged by its hash."""

    version: str = ""
    sha256: str = ""
    length: int = 0
    content: bytes = b""
    is_whole: bool = False
    works: bool = True


@dataclass(slots=True)
class Slots:
    """``kept``: what a restart comes back to. ``trial``: what runs for now, if that is another."""

    kept: int = 0
    trial: int | None = None
    trial_until_s: float = 0.0
    slots: list[Slot] = field(default_factory=lambda: [Slot(), Slot()])

    @property
    def running(self) -> Slot:
        return self.slots[self.kept if self.trial is None else self.trial]

    @property
    def spare(self) -> Slot:
        return self.slots[1 - self.kept]


@dataclass(slots=True)
class Software:
    slots: dict[str, Slots]
    cut_before: int | None = None

    @classmethod
    def factory(cls, app_version: str) -> Software:
        made = {kind: Slots() for kind in KINDS}
        for kind, version in (("payment_application", app_version), ("configuration", "1.0.0")):
            made[kind].slots[0] = Slot(version, "0" * 64, 0, b"", is_whole=True)
        return cls(made)


def of_kind(terminal: SimulatedTerminal, kind: object) -> Slots:
    if kind not in KINDS:
        raise SlotRefused("unknown_kind", f"expected one of {', '.join(KINDS)}, came {str(kind)[:40]!r}")
    return terminal.memory.software.slots[str(kind)]


def status(terminal: SimulatedTerminal, kind: object) -> dict[str, object]:
    found = of_kind(terminal, kind)
    is_up = found.running.works and (kind != "payment_application" or terminal.is_app_alive())
    return {
        "version": found.running.version,
        "sha256": found.running.sha256,
        "is_trial": found.trial is not None,
        "is_up": is_up,
        "spare_sha256": found.spare.sha256,
        "spare_bytes": len(found.spare.content),
    }


def begin(terminal: SimulatedTerminal, kind: object, sha256: str, length: int) -> dict[str, object]:
    """What comes is written into the slot that does not run; a part of the same file is gone on with."""
    found = of_kind(terminal, kind)
    if found.trial is not None:
        raise SlotRefused("on_trial", "what is on trial has to be kept or given up first")
    if not 1 <= length <= MAX_CONTENT:
        raise SlotRefused("bad_argument", f"length: expected 1 to {MAX_CONTENT}")
    spare = found.spare
    if (spare.sha256, spare.length) != (sha256, length):
        _write(terminal)
        found.slots[1 - found.kept] = spare = Slot(sha256=sha256, length=length)
    return {"have": len(spare.content)}


def write(terminal: SimulatedTerminal, kind: object, offset: int, data: bytes) -> dict[str, object]:
    spare = of_kind(terminal, kind).spare
    if offset != len(spare.content) or offset + len(data) > spare.length:
        raise SlotRefused("bad_offset", f"expected offset {len(spare.content)} of {spare.length}, came {offset}")
    _write(terminal)
    spare.content += data
    return {"have": len(spare.content)}


def activate(terminal: SimulatedTerminal, kind: object, sha256: str) -> None:
    """Runs the other slot on trial."""
    found = of_kind(terminal, kind)
    if found.trial is not None and found.running.sha256 == sha256:
        return
    spare = found.spare
    if spare.sha256 != sha256 or hashlib.sha256(spare.content).hexdigest() != sha256:
        raise SlotRefused("not_whole", "the other slot does not hold this file whole")
    version, works = _read(str(kind), spare.content)
    _write(terminal)
    spare.version, spare.works, spare.is_whole = version, works, True
    _write(terminal)
    found.trial, found.trial_until_s = 1 - found.kept, terminal.now().mono_s + TRIAL_S
    _run(terminal, str(kind))


def keep(terminal: SimulatedTerminal, kind: object) -> None:
    found = of_kind(terminal, kind)
    if found.trial is not None:
        _write(terminal)
        found.kept, found.trial = found.trial, None


def give_up(terminal: SimulatedTerminal, kind: object) -> None:
    found = of_kind(terminal, kind)
    if found.trial is not None:
        _write(terminal)
        found.trial = None
        _run(terminal, str(kind))


def fall_back(terminal: SimulatedTerminal, *, is_boot: bool) -> None:
    """By the terminal itself: after a restart, or when nobody has kept it in time."""
    now_s = terminal.now().mono_s
    for kind, found in terminal.memory.software.slots.items():
        if found.trial is not None and (is_boot or now_s >= found.trial_until_s):
            found.trial = None
            _run(terminal, kind)


def _run(terminal: SimulatedTerminal, kind: str) -> None:
    running = terminal.memory.software.slots[kind].running
    if kind == "payment_application":
        terminal.restart_app(running.version, works=running.works)
    elif kind == "configuration" and running.content:
        terminal.memory.config.update(json.loads(running.content)["values"])


def _write(terminal: SimulatedTerminal) -> None:
    software = terminal.memory.software
    if software.cut_before is None:
        return
    if software.cut_before == 0:
        software.cut_before = None
        terminal.begin_reboot("power_cut")
        raise PowerCut
    software.cut_before -= 1


def _read(kind: str, content: bytes) -> tuple[str, bool]:
    """Version, and whether it comes up."""
    if kind == "configuration":
        try:
            said = json.loads(content)
            values = said["values"]
            is_known = isinstance(values, dict) and all(isinstance(one, str) for one in values.values())
            version = str(said["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise SlotRefused("not_understood", "expected JSON with version and values") from error
        if not is_known:
            raise SlotRefused("not_understood", "values: expected texts by their names")
        return version, True
    words = content[:100].split(b"\n", 1)[0].decode("ascii", "replace").split()
    if len(words) < 2 or words[0] != ("TMAPP" if kind == "payment_application" else "TMDATA"):
        raise SlotRefused("not_understood", f"this is no {kind}")
    return words[1], BROKEN not in words[2:]
