"""The demo's fleet: three shops, one gateway with three devices on its lines, two terminals with agents of their own.

Merchants, numbers and names are invented. ``fleet.json`` is the fleet file that ``fleet-server init --fleet`` takes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """An agent of the demo: its key in the fleet file and what stands behind it."""

    key: str
    host: str  # linux: this machine's own health; terminal: a simulated terminal's service
    lines: tuple[LineSpec, ...] = ()
    model: str = ""


@dataclass(frozen=True, slots=True)
class LineSpec:
    key: str
    name: str
    driver: str
    baud: int


GATEWAY = LinkSpec(
    "gw1",
    "linux",
    (
        LineSpec("zvt1", "zvt0", "zvt", 9600),
        LineSpec("prn1", "prn0", "escpos", 19200),
        LineSpec("modem1", "mdm0", "modem", 115200),
    ),
)
LINKS = (GATEWAY, LinkSpec("esign1", "terminal", model="e_sign"), LinkSpec("smart1", "terminal", model="smart"))


def fleet_document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(resources.files(__package__).joinpath("fleet.json").read_text("utf-8"))
    return document
