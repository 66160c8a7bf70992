"""Which root causes a simulated device can be given, with their names in both languages.

Names are causes of the fault model, plus those of the stand-in itself: what happens to an application, its queue or its
registration rather than to the hardware, and what the demo does to lines, links and processes. How a cause shows on a
terminal is `terminal_faults`' part; on an attached device, the peripheral's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache

from protocol.catalogue import faults
from protocol.catalogue.vocabulary import TerminalClass
from simulators.observations import observe

# Below this a symptom is the exception: a device is not given a cause that would usually not show.
SHOWS_FROM_P = 0.5


class DeviceKind(Enum):
    E_SIGN = "e_sign"
    TRADITIONAL = "traditional"
    SMART = "smart"
    KIOSK = "kiosk"
    ZVT = "zvt"
    ESCPOS = "escpos"
    MODEM = "modem"
    GATEWAY = "gateway"


TERMINALS = {
    DeviceKind.E_SIGN: TerminalClass.E_SIGN,
    DeviceKind.TRADITIONAL: TerminalClass.TRADITIONAL,
    DeviceKind.SMART: TerminalClass.SMART,
    DeviceKind.KIOSK: TerminalClass.KIOSK,
}
_ON_A_LINE = frozenset({DeviceKind.ZVT, DeviceKind.ESCPOS, DeviceKind.MODEM})


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """``fits``: which kinds of device can be given it."""

    name: str
    title_zh: str
    title_en: str
    fits: frozenset[DeviceKind]


# Of the application and of what it keeps; a terminal can lose any of them without a part being broken.
APP_DEAD = "app_dead"
QUEUE_STUCK = "queue_stuck"
REGISTRATION_LOST = "registration_lost"
# Of the demo: what is done to a link, a line or a process.
LINK_DOWN = "link_down"
CABLE_OUT = "cable_out"
AGENT_KILLED = "agent_killed"

_OWN = (
    PlannedFault(APP_DEAD, "支付应用停止运行", "payment application stopped", frozenset(TERMINALS)),
    PlannedFault(QUEUE_STUCK, "待上送交易卡住", "upload queue stuck", frozenset(TERMINALS)),
    PlannedFault(REGISTRATION_LOST, "网络注册丢失", "network registration lost", frozenset(TERMINALS)),
    PlannedFault(LINK_DOWN, "代理断网", "agent's own link down", frozenset(TERMINALS) | {DeviceKind.GATEWAY}),
    PlannedFault(CABLE_OUT, "串口线被拔掉", "serial cable unplugged", _ON_A_LINE),
    PlannedFault(AGENT_KILLED, "代理进程被杀", "agent process killed", frozenset(TERMINALS) | {DeviceKind.GATEWAY}),
)
DEMO_FAULTS = frozenset({LINK_DOWN, CABLE_OUT, AGENT_KILLED})


@cache
def all_faults() -> tuple[PlannedFault, ...]:
    """Causes of the fault model that some terminal can show, then the stand-ins' own."""
    modelled = tuple(
        PlannedFault(cause.id, cause.title_zh, cause.title_en, _kinds_showing(cause))
        for cause in faults.load().causes.values()
    )
    return tuple(each for each in modelled if each.fits) + _OWN


def faults_for(kind: DeviceKind) -> tuple[PlannedFault, ...]:
    return tuple(each for each in all_faults() if kind in each.fits)


def get(name: str) -> PlannedFault | None:
    """Also a cause that no terminal shows: a peripheral may know it."""
    found = next((each for each in all_faults() if each.name == name), None)
    cause = faults.load().causes.get(faults.CauseId(name))
    if found is None and cause is not None:
        return PlannedFault(cause.id, cause.title_zh, cause.title_en, frozenset())
    return found


def _kinds_showing(cause: faults.Cause) -> frozenset[DeviceKind]:
    return frozenset(
        kind
        for kind, terminal_class in TERMINALS.items()
        if cause.prior_weight.get(terminal_class, 0) > 0
        and any(observe(symptom, terminal_class) for symptom, p in cause.symptoms.items() if p >= SHOWS_FROM_P)
    )
