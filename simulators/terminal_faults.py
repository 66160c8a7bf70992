"""How each root cause shows on a simulated terminal, and how it is undone.

Most causes show as the fault model says: readings past a limit, codes, response codes. Causes of the terminal's own
inner life (disk, memory, clock, SIM, sign-in, queue, battery …) change its memory instead, so that the right fix really
mends them, and everything that follows from them shows by itself. A dead SIM stays dead whatever is tried from afar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from protocol.catalogue import faults
from protocol.catalogue.vocabulary import TerminalClass
from simulators.fault_plan import APP_DEAD, QUEUE_STUCK, REGISTRATION_LOST, SHOWS_FROM_P
from simulators.observations import ShowsCode, ShowsReading, observe
from simulators.terminal_models import DEFAULT_CONFIG, TerminalModel
from simulators.terminal_readings import Reading
from simulators.terminal_state import MAX_QUEUE, QueuedItem, QueuedKind, TerminalMemory

WRONG_CLOCK_S = 1200.0
STUCK_ITEMS = 4
STUCK_FOR_S = 1800.0
# Of the 500 payments that a batch takes on most terminals.
FULL_BATCH = 497
UNSETTLED_FOR_S = 100 * 3600.0
WRONG_APN = "internet"
DEAD_DNS_SERVER = "192.0.2.53"
_DAY_S = 86_400.0
_RESPONSE_CODE_PREFIX = "unionpay39."

# A part that is built in is read by the terminal itself: no code of an attached device, but a reading of its own.
_BUILT_IN: Mapping[str, tuple[str, Reading]] = {
    "escpos.eot4.paper_end": ("prn.status", "paper_out"),
    "escpos.eot2.cover_open": ("prn.status", "cover_open"),
    "escpos.eot3.auto_recoverable": ("prn.status", "overheat"),
    "escpos.eot3.cutter": ("prn.status", "cutter_error"),
    "term.PRN_NO_RESPONSE": ("prn.status", "offline"),
    "term.PRN_VOLT_LOW": ("prn.status", "volt_low"),
    "zvt.E2": ("reader.alive", 0),
    "cme.10": ("modem.sim_state", "absent"),
    "cme.13": ("modem.sim_state", "failure"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """``response_codes``: field 39 of what the acquirer answers while the cause is there."""

    readings: Mapping[str, Reading]
    codes: frozenset[str]
    response_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    memory: TerminalMemory
    model: TerminalModel
    now_s: float
    true_wall_s: float


Change = Callable[[Situation], None]


@cache
def shown_by(cause_name: str, terminal_class: TerminalClass) -> Shown:
    """What the fault model says; nothing of what follows from the terminal's memory, nor for the stand-in's causes."""
    cause = faults.load().causes.get(faults.CauseId(cause_name))
    readings: dict[str, Reading] = {}
    codes: set[str] = set()
    response_codes: list[str] = []
    symptoms = sorted(cause.symptoms.items(), key=lambda item: item[1]) if cause is not None else []
    for symptom, p in symptoms:
        if p < SHOWS_FROM_P:
            continue
        for seen in observe(symptom, terminal_class):
            match seen:
                case ShowsReading(metric, value):
                    readings[metric] = value
                case ShowsCode(code) if code in _BUILT_IN:
                    metric, value = _BUILT_IN[code]
                    readings[metric] = value
                case ShowsCode(code) if code.startswith(_RESPONSE_CODE_PREFIX):
                    response_codes.append(code.removeprefix(_RESPONSE_CODE_PREFIX))
                case ShowsCode(code):
                    codes.add(code)
    own = _FROM_MEMORY.get(cause_name, frozenset())
    kept = {metric: value for metric, value in readings.items() if metric not in own}
    return Shown(kept, frozenset(codes), tuple(reversed(response_codes)))


def begin(name: str, situation: Situation) -> None:
    change = _BEGINS.get(name)
    if change is not None:
        change(situation)


def end(name: str, situation: Situation) -> None:
    change = _ENDS.get(name)
    if change is not None:
        change(situation)


def _fill_disk(now: Situation) -> None:
    disk = now.memory.disk
    disk.log_mb = round((disk.total_mb - disk.system_mb) - 0.03 * disk.total_mb, 1)
    disk.log_files = 180


def empty_logs(now: Situation) -> None:
    now.memory.disk.log_mb = round(now.memory.disk.log_limit_mb * 0.1, 1)
    now.memory.disk.log_files = 2


def _leak(now: Situation) -> None:
    app = now.memory.app
    app.leak_mb_per_h = 20.0
    app.leaked_mb = now.model.memory_mb * 0.64 - app.base_rss_mb


def _stop_leaking(now: Situation) -> None:
    now.memory.app.leak_mb_per_h = 0.0
    now.memory.app.leaked_mb = 0.0


def _stick_queue(now: Situation) -> None:
    trade = now.memory.trade
    kinds = (QueuedKind.OFFLINE_PAYMENT, QueuedKind.REVERSAL, QueuedKind.SETTLEMENT)
    for index in range(min(STUCK_ITEMS, MAX_QUEUE - len(trade.queue))):
        trade.trace += 1
        kind = kinds[index % len(kinds)]
        trade.queue.append(QueuedItem(kind, trade.trace, 1250 * (index + 1), now.now_s - STUCK_FOR_S))


def send_queue(now: Situation) -> None:
    """What the acquirer confirms moves to `sent`; without a way to it everything stays."""
    trade = now.memory.trade
    trade.sent.extend(trade.queue)
    trade.queue.clear()


def _age_battery(now: Situation) -> None:
    power = now.memory.power
    power.health_pct, power.drain_pct_h, power.level_pct, power.is_plugged = 48.0, 31.0, 12.0, False


def _new_battery(now: Situation) -> None:
    power = now.memory.power
    power.health_pct, power.drain_pct_h, power.level_pct, power.is_plugged = 92.0, 4.0, 86.0, True


def _expire_sign_in(now: Situation) -> None:
    now.memory.trade.is_signed_in = False
    now.memory.trade.signed_in_s = now.now_s - 30 * 3600


def sign_in(now: Situation) -> None:
    now.memory.trade.is_signed_in = True
    now.memory.trade.signed_in_s = now.now_s


def _fill_batch(now: Situation) -> None:
    now.memory.trade.batch_count = FULL_BATCH
    now.memory.trade.settled_s = now.now_s - UNSETTLED_FOR_S


def settle(now: Situation) -> None:
    now.memory.trade.batch_count = 0
    now.memory.trade.settled_s = now.now_s


def _set_clock_offset(offset_s: float) -> Change:
    def change(now: Situation) -> None:
        now.memory.clock_offset_s = offset_s

    return change


def _set_sim(state: str) -> Change:
    def change(now: Situation) -> None:
        now.memory.radio.sim_state = state

    return change


def _set_registered(*, is_registered: bool) -> Change:
    def change(now: Situation) -> None:
        now.memory.radio.is_registered = is_registered

    return change


def _set_config(name: str, value: str) -> Change:
    def change(now: Situation) -> None:
        now.memory.config[name] = value

    return change


def _set_app_dead(*, is_dead: bool) -> Change:
    def change(now: Situation) -> None:
        now.memory.app.is_dead = is_dead

    return change


def _set_certificate(days_left: float) -> Change:
    def change(now: Situation) -> None:
        now.memory.certificate_not_after_s = now.true_wall_s + days_left * _DAY_S

    return change


_BEGINS: Mapping[str, Change] = {
    APP_DEAD: _set_app_dead(is_dead=True),
    QUEUE_STUCK: _stick_queue,
    REGISTRATION_LOST: _set_registered(is_registered=False),
    "storage_log_growth": _fill_disk,
    "memory_leak": _leak,
    "clock_drift": _set_clock_offset(WRONG_CLOCK_S),
    "sim_dead": _set_sim("failure"),
    "sim_loose": _set_sim("absent"),
    "sign_in_expired": _expire_sign_in,
    "batch_full": _fill_batch,
    "battery_aged": _age_battery,
    "tls_cert_expired": _set_certificate(-2),
    "apn_wrong": _set_config("apn", WRONG_APN),
    "dns_broken": _set_config("dns_server", DEAD_DNS_SERVER),
}
_ENDS: Mapping[str, Change] = {
    APP_DEAD: _set_app_dead(is_dead=False),
    QUEUE_STUCK: send_queue,
    REGISTRATION_LOST: _set_registered(is_registered=True),
    "storage_log_growth": empty_logs,
    "memory_leak": _stop_leaking,
    "clock_drift": _set_clock_offset(0.0),
    "sim_dead": _set_sim("ready"),
    "sim_loose": _set_sim("ready"),
    "sign_in_expired": sign_in,
    "batch_full": settle,
    "battery_aged": _new_battery,
    "tls_cert_expired": _set_certificate(400),
    "apn_wrong": _set_config("apn", DEFAULT_CONFIG["apn"]),
    "dns_broken": _set_config("dns_server", DEFAULT_CONFIG["dns_server"]),
}
_RADIO = frozenset({"modem.sim_state", "modem.reg_stat", "modem.pdp_active"})
_MEMORY = frozenset({"sys.mem_avail_pct", "sys.app_rss_mb", "sys.app_crash_24h", "sys.app_anr_24h"})
# Readings that such a cause shows through the memory it changed, and which a fix therefore puts right.
_FROM_MEMORY: Mapping[str, frozenset[str]] = {
    "storage_log_growth": frozenset({"sys.storage_free_pct", "sys.storage_log_mb"}),
    "memory_leak": _MEMORY,
    "clock_drift": frozenset({"sys.clock_drift_s"}),
    "sim_dead": _RADIO,
    "sim_loose": _RADIO,
    "sign_in_expired": frozenset({"biz.sign_in_ok"}),
    "batch_full": frozenset({"biz.batch_count", "biz.settle_age_h"}),
    "battery_aged": frozenset({"batt.health_pct", "batt.drain_pct_h", "batt.level_pct"}),
    "tls_cert_expired": frozenset({"cert.tls_days_left"}),
}
