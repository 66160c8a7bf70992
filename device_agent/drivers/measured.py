"""Which metrics each driver family can report: what a device declares it measures, before it has measured anything.

Ids of the catalogue, which has their units, words and normal ranges. Invariant, tested on every driver: no reading of a
poll is missing here. A terminal of its own reports what its maker's service knows, at most what applies to its class.
"""

from __future__ import annotations

from device_agent.families import ESCPOS, HOST, MODEM, TERMINAL, ZVT
from protocol.catalogue import metrics
from protocol.catalogue.vocabulary import TerminalClass

# What the agent knows of itself, reported with the device it runs on.
OF_THE_AGENT = ("agent.queue_depth", "agent.spool_used_pct", "agent.spool_oldest_h")
# Where its link has a budget.
OF_THE_BUDGET = ("agent.data_month_mb", "agent.data_budget_pct")
_CLASSES = {each.value: each for each in TerminalClass}
_LINE = ("serial.crc_err_pct", "serial.timeout_pct", "serial.nak_pct")
_BY_FAMILY: dict[str, tuple[str, ...]] = {
    HOST: (
        "sys.uptime_s",
        "sys.cpu_pct",
        "sys.load1",
        "sys.mem_avail_pct",
        "sys.storage_free_pct",
        "sys.temp_c",
        "agent.rss_mb",
        "agent.cpu_pct",
        "batt.level_pct",
        "power.plugged",
    ),
    ZVT: (*_LINE, "sys.firmware_ver", "reader.alive", "prn.status"),
    ESCPOS: (*_LINE, "sys.firmware_ver", "prn.status", "prn.paper_near_end"),
    MODEM: (
        *_LINE,
        "sys.firmware_ver",
        "modem.sim_state",
        "modem.reg_stat",
        "modem.cell_id",
        "net.type",
        "modem.csq",
        "modem.rsrp_dbm",
        "modem.rsrq_db",
        "modem.sinr_db",
        "modem.attach",
        "modem.pdp_active",
        "modem.apn",
        "modem.imei",
        "modem.iccid",
    ),
}


def metrics_of(family: str, terminal_class: str) -> tuple[str, ...]:
    """By family; nothing for a family that is not known."""
    if family == TERMINAL:
        of_class = metrics.for_class(_CLASSES[terminal_class])
        # What agents know of themselves is theirs to say, not the terminal's.
        return tuple(str(metric.name) for metric in of_class if not metric.name.startswith("agent."))
    return _BY_FAMILY.get(family, ())
