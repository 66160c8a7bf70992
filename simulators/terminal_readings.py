"""What a simulated terminal reports as its health: healthy values that wander, what its memory says, what faults show.

Reading changes nothing: a value is a function of the seed, the metric, the moment and the terminal's memory. Each
metric of the catalogue that applies to the class is reported, except those that the agent, the line or the server know.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from protocol.catalogue import metrics
from protocol.catalogue.normal_range import AtLeast, AtMost, Between, OneOf
from protocol.catalogue.vocabulary import TerminalClass
from simulators.terminal_models import TerminalModel
from simulators.terminal_state import QueuedKind, TerminalMemory

Reading = bool | int | float | str

# Known to others: the agent itself, the server, or only terminals with such a part. What a cause shows is never among
# them: a reading that ends with its cause would stay abnormal where nobody says that it is over.
_NOT_OURS = ("agent.", "ups.", "kiosk.")
# The wander of a value: one slow swing with its own phase, and a small step each ten seconds.
_SWING_S = 1800.0
_STEP_S = 10.0
_SWING_PART = 0.04
_STEP_PART = 0.01

# Healthy values where the middle of the normal range would look odd.
_BASE: Mapping[str, Reading] = {
    "sys.cpu_pct": 18.0,
    "sys.load1": 0.7,
    "sys.temp_c": 36.5,
    "sys.emmc_life_pct": 10,
    "sys.os_patch_age_d": 88,
    "batt.cycle_count": 141,
    "batt.temp_c": 29.0,
    "prn.length_km": 8.4,
    "prn.head_temp_c": 31.0,
    "prn.fail_pct": 0.2,
    "icc.insert_count": 41_230,
    "icc.read_fail_pct": 0.6,
    "nfc.read_fail_pct": 1.1,
    "msr.read_fail_pct": 1.4,
    "ped.batt_mv": 3010,
    "ped.dukpt_left": 912_004,
    "cert.ca_bundle_age_d": 201,
    "net.rtt_ms": 88.0,
    "net.dns_ms": 24.0,
    "net.loss_pct": 0.3,
    "net.reconnect_1h": 0,
    "net.ip_src": "dhcp",
    "modem.rsrp_dbm": -88.0,
    "modem.rsrq_db": -10.0,
    "modem.sinr_db": 14.0,
    "modem.csq": 22,
    "modem.apn": "cmnet",
    "modem.cell_id": "01A2D001",
    "modem.cell_change_24h": 3,
    "wifi.rssi_dbm": -56.0,
    "wifi.retry_pct": 4.0,
    "biz.txn_success_pct": 98.0,
    "biz.txn_latency_ms": 1650.0,
    "biz.rc_top": "00",
    "biz.mac_err_24h": 0,
    "par.param_ver": "2026.11",
    "par.aid_ver": "41",
    "par.capk_ver": "27",
    "par.blacklist_age_d": 1,
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Monotonic time, and the true wall time beside it: the terminal's own clock may be wrong."""

    mono_s: float
    true_wall_s: float


def healthy(model: TerminalModel, seed: int, mono_s: float) -> dict[str, Reading]:
    return {
        name: _wandering(base, name, seed, mono_s) if isinstance(base, float) else base
        for name, base in _bases(model.terminal_class).items()
    }


def remembered(memory: TerminalMemory, model: TerminalModel, now: Moment) -> Iterator[tuple[str, Reading]]:
    """The metrics that follow from the terminal's memory."""
    yield from _system(memory, model, now)
    yield from _power(memory, now)
    yield from _radio(memory, model)
    yield from _trade(memory, now)


def free_mb(memory: TerminalMemory) -> float:
    return max(memory.disk.total_mb - memory.disk.system_mb - memory.disk.log_mb, 0.0)


def app_rss_mb(memory: TerminalMemory, now: Moment) -> float:
    running_h = max(now.mono_s - memory.app.started_s, 0.0) / 3600
    return memory.app.base_rss_mb + memory.app.leaked_mb + memory.app.leak_mb_per_h * running_h


def memory_available_pct(memory: TerminalMemory, model: TerminalModel, now: Moment) -> float:
    # The system itself takes three tenths.
    free = model.memory_mb * 0.7 - app_rss_mb(memory, now)
    return round(min(max(100 * free / model.memory_mb, 1.0), 100.0), 1)


def is_online_by_radio(memory: TerminalMemory) -> bool:
    return memory.radio.sim_state == "ready" and memory.radio.is_registered


def _system(memory: TerminalMemory, model: TerminalModel, now: Moment) -> Iterator[tuple[str, Reading]]:
    yield "sys.uptime_s", int(max(now.mono_s - memory.booted_s, 0))
    yield "sys.boot_count_24h", memory.boots_24h
    yield "sys.boot_reason", memory.boot_reason
    yield "sys.mem_avail_pct", memory_available_pct(memory, model, now)
    yield "sys.app_rss_mb", round(app_rss_mb(memory, now), 1)
    yield "sys.storage_free_pct", round(100 * free_mb(memory) / memory.disk.total_mb, 1)
    yield "sys.storage_log_mb", round(memory.disk.log_mb, 1)
    yield "sys.clock_drift_s", round(memory.clock_offset_s, 1)
    yield "sys.firmware_ver", model.firmware
    yield "sys.app_ver", memory.app.version
    yield "cert.tls_days_left", int((memory.certificate_not_after_s - now.true_wall_s) // 86_400)


def _power(memory: TerminalMemory, now: Moment) -> Iterator[tuple[str, Reading]]:
    yield "power.plugged", int(memory.power.is_plugged)
    yield "power.charging", "full" if memory.power.is_plugged else "discharging"
    used = 0.0 if memory.power.is_plugged else memory.power.drain_pct_h * (now.mono_s - memory.booted_s) / 3600
    yield "batt.level_pct", round(max(memory.power.level_pct - used, 1.0), 1)
    yield "batt.health_pct", memory.power.health_pct
    yield "batt.drain_pct_h", memory.power.drain_pct_h


def _radio(memory: TerminalMemory, model: TerminalModel) -> Iterator[tuple[str, Reading]]:
    is_ready = memory.radio.sim_state == "ready"
    is_online = is_online_by_radio(memory)
    yield "modem.sim_state", memory.radio.sim_state
    yield "modem.reg_stat", 1 if is_online else (2 if is_ready else 0)
    yield "modem.attach", int(is_online)
    yield "modem.pdp_active", int(is_online)
    yield "modem.apn", memory.config["apn"]
    # The class that has nothing but the modem is off the air with it.
    if model.terminal_class is TerminalClass.E_SIGN:
        yield "net.type", "4g" if is_online else "none"
        yield "net.wan_ok", int(is_online)


def _trade(memory: TerminalMemory, now: Moment) -> Iterator[tuple[str, Reading]]:
    trade = memory.trade
    yield "biz.sign_in_ok", int(trade.is_signed_in)
    yield "biz.sign_in_age_h", round((now.mono_s - trade.signed_in_s) / 3600, 2)
    yield "biz.settle_age_h", round((now.mono_s - trade.settled_s) / 3600, 2)
    yield "biz.last_txn_age_h", round((now.mono_s - trade.last_payment_s) / 3600, 2)
    yield "biz.batch_count", trade.batch_count
    for metric, kind in (
        ("biz.reversal_pending", QueuedKind.REVERSAL),
        ("biz.offline_pending", QueuedKind.OFFLINE_PAYMENT),
    ):
        yield metric, sum(item.kind is kind for item in trade.queue)


@cache
def applying_metrics(terminal_class: TerminalClass) -> frozenset[str]:
    return frozenset(metric.name for metric in metrics.for_class(terminal_class))


@cache
def _bases(terminal_class: TerminalClass) -> dict[str, Reading]:
    found = {}
    for metric in metrics.for_class(terminal_class):
        if metric.name.startswith(_NOT_OURS):
            continue
        base = _BASE.get(metric.name)
        if base is None:
            base = _middle(metric, terminal_class)
        if base is not None:
            found[str(metric.name)] = base
    return found


def _middle(metric: metrics.Metric, terminal_class: TerminalClass) -> Reading | None:
    """A value well inside the normal range; None where only the server knows what is normal."""
    is_whole = metric.unit.startswith("count") or metric.unit in {"bool", "code"}
    match metric.normal(terminal_class):
        case AtMost(limit):
            middle = limit * 0.25
        case AtLeast(limit):
            middle = limit * (1.3 if limit > 0 else 0.85)
        case Between(low, high):
            middle = (low + high) / 2
        case OneOf(allowed):
            first = allowed[0]
            return int(first) if isinstance(first, float) else first
        case _:
            return None
    return int(middle) if is_whole else middle


def _part_of(text: str) -> float:
    """A number in [0, 1) that is always the same for a text."""
    return zlib.crc32(text.encode()) / 2**32


def _wandering(base: float, name: str, seed: int, mono_s: float) -> float:
    phase = _part_of(f"{seed}/{name}")
    step = 2 * _part_of(f"{seed}/{name}/{int(mono_s // _STEP_S)}") - 1
    swing = math.sin(2 * math.pi * (mono_s / _SWING_S + phase))
    value = base * (1 + _SWING_PART * swing + _STEP_PART * step)
    # A share of a whole never passes the whole.
    return round(min(value, 100.0) if name.endswith("_pct") else value, 1)
