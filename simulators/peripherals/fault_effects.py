"""Which cause shows how on which family: the one table behind `simulators break DEVICE FAULT`.

Names are causes of the fault model; `link_down`, `cable_out` and the few others it does not know are marked. A cause
that a family cannot show is absent from its table, and asking for it is an error with the list of what it can show.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Cure(Enum):
    """The remote action that really mends a cause; all others need a person (`clear_fault`)."""

    INITIALISE = "initialise"
    REGISTER = "register"
    SETTLE = "settle"
    REATTACH = "reattach"


@dataclass(frozen=True, slots=True)
class LineEffect:
    """What happens to the bytes on their way, whatever the device."""

    is_cut: bool = False
    is_gone: bool = False
    """The adapter itself is off the bus: its device node disappears."""
    damaged_share: float = 0.0


@dataclass(frozen=True, slots=True)
class ZvtEffect:
    status: int | None = None
    """Terminal status byte of a status enquiry."""
    host_result: int | None = None
    """Result code of everything that needs the host."""
    refusal: int | None = None
    """Result code of every function until cured."""
    blocks_paper: bool = False
    is_payment_running: bool = False
    cure: Cure | None = None


@dataclass(frozen=True, slots=True)
class PrinterEffect:
    paper_end: bool = False
    near_end: bool = False
    cover_open: bool = False
    cutter_error: bool = False
    mechanical_error: bool = False
    unrecoverable_error: bool = False
    head_hot: bool = False


@dataclass(frozen=True, slots=True)
class ModemEffect:
    sim_error: int | None = None
    """+CME ERROR number of everything that needs the SIM."""
    registration: int | None = None
    csq: int | None = None
    rsrp: int | None = None
    """Code of +CESQ: dBm + 140."""
    sinr_db: int | None = None
    context_error: int | None = None
    """+CME ERROR number of activating the data context; the context is down."""
    is_context_down: bool = False
    cure: Cure | None = None


LINE_EFFECTS: dict[str, LineEffect] = {
    "cable_out": LineEffect(is_cut=True),  # not in the fault model
    "serial_loose": LineEffect(damaged_share=0.05),
    "baud_mismatch": LineEffect(damaged_share=1.0),
    "usb_hub_power": LineEffect(is_cut=True, is_gone=True),
}

ZVT_EFFECTS: dict[str, ZvtEffect] = {
    "link_down": ZvtEffect(host_result=0xA3),  # not in the fault model
    "payment_running": ZvtEffect(is_payment_running=True),  # no fault, but what a test wants to hold for a while
    "acquirer_down": ZvtEffect(host_result=0xA1),
    "firewall_block": ZvtEffect(host_result=0xA3),
    "dns_broken": ZvtEffect(host_result=0xA3),
    "signal_weak": ZvtEffect(host_result=0x9B),
    "sim_dead": ZvtEffect(host_result=0x7D),
    "keys_lost": ZvtEffect(host_result=0x85),
    "sign_in_expired": ZvtEffect(refusal=0x6B, cure=Cure.REGISTER),
    "param_outdated": ZvtEffect(status=0x51, cure=Cure.INITIALISE),
    "clock_drift": ZvtEffect(status=0x62, cure=Cure.INITIALISE),
    "capk_outdated": ZvtEffect(status=0xC4, cure=Cure.INITIALISE),
    "batch_full": ZvtEffect(status=0xB2, cure=Cure.SETTLE),
    "paper_out": ZvtEffect(status=0xCC, blocks_paper=True),
    "cover_open": ZvtEffect(status=0xCC, blocks_paper=True),
    "storage_log_growth": ZvtEffect(status=0xB1),
    "psu_brownout": ZvtEffect(status=0xBF),
    "reader_dead": ZvtEffect(status=0xE2),
    "tamper_tripped": ZvtEffect(status=0xDF, refusal=0x83),
    "terminal_unregistered": ZvtEffect(status=0xF6, host_result=0xF5),
}

# What the terminal tells only when it is asked to call its host (06 70, 06 93): no poll of an agent shows it.
ZVT_ONLY_WHEN_ASKED = frozenset(
    name for name, effect in ZVT_EFFECTS.items() if effect.status is None and not effect.is_payment_running
)

PRINTER_EFFECTS: dict[str, PrinterEffect] = {
    "paper_out": PrinterEffect(paper_end=True, near_end=True),
    "paper_near": PrinterEffect(near_end=True),  # not in the fault model: the stage before paper_out
    "cover_open": PrinterEffect(cover_open=True),
    "cutter_jam": PrinterEffect(cutter_error=True),
    "mechanical_jam": PrinterEffect(mechanical_error=True),  # not in the fault model
    "head_overheat": PrinterEffect(head_hot=True),
    "psu_brownout": PrinterEffect(unrecoverable_error=True),
}
# A printer whose cable is out, by the name the fault model has for it; and without power it is as silent.
PRINTER_LINE_EFFECTS: dict[str, LineEffect] = {
    "printer_cable": LineEffect(is_cut=True),
    "link_down": LineEffect(is_cut=True),
}

MODEM_EFFECTS: dict[str, ModemEffect] = {
    "sim_loose": ModemEffect(sim_error=10, registration=0),
    "sim_dead": ModemEffect(sim_error=13, registration=0),
    "sim_out_of_credit": ModemEffect(context_error=133, is_context_down=True),
    "apn_wrong": ModemEffect(context_error=149, is_context_down=True),
    "moved_blocked": ModemEffect(registration=3, context_error=112, is_context_down=True),
    "cell_outage": ModemEffect(registration=2, csq=99, rsrp=255),
    "signal_weak": ModemEffect(csq=3, rsrp=23, sinr_db=-4),
    "link_down": ModemEffect(is_context_down=True, cure=Cure.REATTACH),  # not in the fault model
}
