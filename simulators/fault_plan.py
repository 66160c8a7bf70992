"""Which root causes a simulated device can be given, with their names in both languages.

Names are causes of the fault model, plus those of the stand-in itself: what happens to an application, its queue or its
registration rather than to the hardware, and what the demo does to lines, links and processes. How a cause shows on a
terminal is `terminal_faults`' part; on an attached device, `peripherals.fault_effects`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache

from protocol.catalogue import faults
from protocol.catalogue.vocabulary import TerminalClass
from simulators.observations import observe
from simulators.peripherals import fault_effects

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
# What each family of attached device can show; the line's own troubles fit all of them.
_ATTACHED: Mapping[DeviceKind, tuple[Mapping[str, object], ...]] = {
    DeviceKind.ZVT: (fault_effects.ZVT_EFFECTS, fault_effects.LINE_EFFECTS),
    DeviceKind.ESCPOS: (
        fault_effects.PRINTER_EFFECTS,
        fault_effects.PRINTER_LINE_EFFECTS,
        fault_effects.LINE_EFFECTS,
    ),
    DeviceKind.MODEM: (fault_effects.MODEM_EFFECTS, fault_effects.LINE_EFFECTS),
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
    PlannedFault("payment_running", "正在收款（非故障）", "payment running (no fault)", frozenset()),
    PlannedFault("paper_near", "纸将尽", "paper nearly out", frozenset()),
    PlannedFault("mechanical_jam", "打印机构卡死", "printer mechanism jammed", frozenset()),
    PlannedFault(CABLE_OUT, "串口线被拔掉", "serial cable unplugged", _ON_A_LINE),
    PlannedFault(AGENT_KILLED, "代理进程被杀", "agent process killed", frozenset(TERMINALS) | {DeviceKind.GATEWAY}),
)
DEMO_FAULTS = frozenset({LINK_DOWN, CABLE_OUT, AGENT_KILLED})


@cache
def all_faults() -> tuple[PlannedFault, ...]:
    """Causes of the fault model that some device can show, then the stand-ins' own."""
    modelled = tuple(
        PlannedFault(cause.id, cause.title_zh, cause.title_en, _kinds_showing(cause) | _attached_showing(cause.id))
        for cause in faults.load().causes.values()
    )
    own = tuple(replace(each, fits=each.fits | _attached_showing(each.name)) for each in _OWN)
    return (*(each for each in modelled if each.fits), *own)


def faults_for(kind: DeviceKind) -> tuple[PlannedFault, ...]:
    return tuple(each for each in all_faults() if kind in each.fits)


def only_when_asked(kind: DeviceKind) -> frozenset[str]:
    """Those that nothing shows until somebody runs a check: not offered to people who wait to see something."""
    return fault_effects.ZVT_ONLY_WHEN_ASKED if kind is DeviceKind.ZVT else frozenset()


def get(name: str) -> PlannedFault | None:
    return next((each for each in all_faults() if each.name == name), None)


def _attached_showing(name: str) -> frozenset[DeviceKind]:
    return frozenset(kind for kind, tables in _ATTACHED.items() if any(name in table for table in tables))


def _kinds_showing(cause: faults.Cause) -> frozenset[DeviceKind]:
    return frozenset(
        kind
        for kind, terminal_class in TERMINALS.items()
        if cause.prior_weight.get(terminal_class, 0) > 0
        and any(observe(symptom, terminal_class) for symptom, p in cause.symptoms.items() if p >= SHOWS_FROM_P)
    )
