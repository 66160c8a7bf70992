"""Asks the attached device at other speeds of the line. It gets bytes it cannot read meanwhile, so this is a test.

The line itself is left as it was: it is opened at its own speed again by whatever asks next. One reached by TCP has
no speed to probe; a pty carries bytes at any.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol, runtime_checkable

from device_agent.actions import ActionContext, Finding, visible_test
from device_agent.drivers.port import PortOpener
from device_agent.drivers.results import LINE_SILENT_CODE
from device_agent.families import ON_A_LINE
from protocol.identifiers import CodeId
from protocol.parameters import Words
from protocol.records import Outcome

# What peripherals leave the factory with, the usual ones first.
SPEEDS: Final = (9600, 115_200, 19_200, 38_400, 57_600, 4800, 2400)


@runtime_checkable
class SpeedOpener(Protocol):
    """Opens one line at one speed, and can be had for another."""

    @property
    def baud(self) -> int: ...
    def at(self, baud: int) -> PortOpener: ...


@visible_test(
    "line.baud_probe",
    may_repeat=True,
    zh="波特率探测",
    en="Baud rate probe",
    families=ON_A_LINE,
    expected_s=30,
    timeout_s=180,
    explains=Words(
        "用其他速率询问外接设备，期间设备不能使用；结束后恢复原速率",
        "Asks the device at other speeds; it cannot be used meanwhile. The line's own speed is kept",
    ),
    finds=("agent.LINE_SILENT",),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    opener = ctx.device.open_port
    if not isinstance(opener, SpeedOpener):
        return [Finding(Outcome.UNSUPPORTED, "speed", evidence="this line has no speed")]
    own = opener.baud
    ctx.device.close()
    others = [speed for speed in SPEEDS if speed != own]
    for index, speed in enumerate((own, *others)):
        if ctx.is_cancelled():
            break
        ctx.progress(100 * index // (len(others) + 1), f"{speed} baud")
        if _answers(ctx, opener.at(speed)):
            return [_found(own, speed)]
    evidence = f"no answer at {own} baud, nor at {len(others)} other speeds"
    return [Finding(Outcome.FAIL, "speed", None, "baud", evidence=evidence, codes=(CodeId(LINE_SILENT_CODE),))]


def _found(own: int, speed: int) -> Finding:
    if speed == own:
        return Finding(Outcome.PASS, "speed", speed, "baud", evidence="answers at the line's own speed")
    return Finding(Outcome.FAIL, "speed", speed, "baud", evidence=f"answers at {speed} baud, the line is set to {own}")


def _answers(ctx: ActionContext, open_port: PortOpener) -> bool:
    # A device of its own: what another speed garbles must not count as the line's own noise.
    device = type(ctx.device)(open_port)
    try:
        return bool(device.poll(datetime.fromtimestamp(ctx.trusted_ms / 1000, UTC)).alive)
    finally:
        device.close()
