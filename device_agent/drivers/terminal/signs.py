"""Which codes a terminal's readings show, as a table. Sans-IO.

Limits are those at which something is broken, wider than the normal ranges of the catalogue at which a value is merely
worth a look. A reading that was not measured shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from device_agent.drivers.results import FaultSign, Reading
from device_agent.drivers.terminal.messages import AppStatus, QueueStatus

# An item that has waited this long was tried several times.
UPLOAD_STUCK_S = 600.0


@dataclass(frozen=True, slots=True)
class SignRule:
    metric: str
    shows: Callable[[Reading], bool]
    code: str


def _below(limit: float) -> Callable[[Reading], bool]:
    return lambda value: not isinstance(value, str) and value < limit


def _above(limit: float) -> Callable[[Reading], bool]:
    return lambda value: not isinstance(value, str) and value > limit


def _away_from_zero(limit: float) -> Callable[[Reading], bool]:
    return lambda value: not isinstance(value, str) and abs(value) > limit


def _is(*wanted: Reading) -> Callable[[Reading], bool]:
    return lambda value: value in wanted


RULES: tuple[SignRule, ...] = (
    SignRule("sys.storage_free_pct", _below(5), "term.STORAGE_FULL"),
    SignRule("sys.storage_io_err_24h", _above(0), "term.STORAGE_IO"),
    SignRule("sys.mem_avail_pct", _below(10), "agent.MEMORY_LOW"),
    SignRule("sys.app_crash_24h", _above(2), "term.APP_CRASH"),
    SignRule("sys.clock_drift_s", _away_from_zero(300), "term.CLOCK_INVALID"),
    SignRule("sys.temp_c", _above(75), "term.OVERHEAT"),
    SignRule("batt.temp_c", _above(50), "term.BATT_HOT"),
    SignRule("power.brownout_24h", _above(1), "term.BROWNOUT"),
    SignRule("ups.on_battery", _is(1), "term.UPS_ON_BATT"),
    SignRule("modem.sim_state", _is("absent"), "cme.10"),
    SignRule("modem.sim_state", _is("failure"), "cme.13"),
    SignRule("modem.reg_stat", _is(3), "term.NET_REG_DENIED"),
    SignRule("modem.reg_stat", _is(0, 2), "agent.MODEM_NOT_REGISTERED"),
    SignRule("modem.pdp_active", _is(0), "term.NET_NO_PDP"),
    SignRule("modem.rsrp_dbm", _below(-112), "term.NET_WEAK"),
    SignRule("net.dns_ok", _is(0), "term.NET_DNS"),
    SignRule("net.ip_src", _is("link_local"), "term.NET_DHCP"),
    SignRule("cert.tls_days_left", _below(0), "agent.CERT_EXPIRED"),
    SignRule("cert.tls_days_left", lambda value: not isinstance(value, str) and 0 <= value < 30, "term.TLS_CERT_SOON"),
    SignRule("biz.sign_in_ok", _is(0), "term.SIGN_IN_NEEDED"),
    SignRule("biz.batch_count", lambda value: not isinstance(value, str) and value >= 480, "term.BATCH_FULL"),
    SignRule("biz.reversal_pending", _above(2), "term.REVERSAL_PENDING"),
    SignRule("prn.status", _is("paper_out"), "term.PRN_NO_PAPER"),
    SignRule("prn.status", _is("cover_open"), "term.PRN_COVER"),
    SignRule("prn.status", _is("overheat"), "term.PRN_OVERHEAT"),
    SignRule("prn.status", _is("volt_low"), "term.PRN_VOLT_LOW"),
    SignRule("prn.status", _is("cutter_error"), "term.PRN_CUTTER"),
    SignRule("prn.status", _is("offline"), "term.PRN_NO_RESPONSE"),
    SignRule("nfc.field_ok", _is(0), "term.NFC_FIELD"),
    SignRule("reader.alive", _is(0), "term.RDR_DEAD"),
    SignRule("ped.tamper", _is("tripped"), "term.PED_TAMPER"),
    SignRule("ped.keys_ok", _is("no_tmk", "none"), "term.PED_NO_TMK"),
    SignRule("ped.keys_ok", _is("no_tpk"), "term.PED_NO_TPK"),
    SignRule("ped.batt_mv", _below(2500), "term.PED_BATT_LOW"),
    SignRule("kbd.stuck_key", _is(1), "term.KEY_STUCK"),
    SignRule("serial.crc_err_pct", _above(5), "term.SERIAL_FRAME"),
    SignRule("serial.timeout_pct", _above(20), "term.SERIAL_TIMEOUT"),
    SignRule("loc.moved_m", _above(2000), "term.MOVED"),
)


def signs_of(readings: Mapping[str, Reading]) -> frozenset[FaultSign]:
    found = {
        FaultSign(rule.code, f"{rule.metric}={_shown(readings[rule.metric])}")
        for rule in RULES
        if rule.metric in readings and rule.shows(readings[rule.metric])
    }
    return frozenset(found | _power_signs(readings))


def signs_of_app(app: AppStatus, queue: QueueStatus) -> frozenset[FaultSign]:
    found = set()
    if not app.alive:
        found.add(FaultSign("agent.APP_DEAD", f"application {app.version} is not running"))
    if queue.pending and queue.oldest_age_s > UPLOAD_STUCK_S:
        evidence = f"{queue.pending} waiting, the oldest for {queue.oldest_age_s:.0f} s"
        found.add(FaultSign("agent.UPLOAD_STUCK", evidence))
    return frozenset(found)


def _power_signs(readings: Mapping[str, Reading]) -> set[FaultSign]:
    """What shows only in two readings together: a battery may be low while it charges."""
    found = set()
    level, plugged = readings.get("batt.level_pct"), readings.get("power.plugged")
    if isinstance(level, int | float) and level < 15 and not plugged:
        found.add(FaultSign("term.BATT_LOW", f"batt.level_pct={_shown(level)}, not plugged in"))
    if plugged and readings.get("power.charging") == "not_charging":
        found.add(FaultSign("term.CHARGE_FAIL", "power.charging=not_charging while plugged in"))
    return found


def _shown(value: Reading) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
