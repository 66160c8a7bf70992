"""What tells the classes of simulated terminal apart: model, sizes, how the application writes its log."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.catalogue.vocabulary import TerminalClass


@dataclass(frozen=True, slots=True)
class TerminalModel:
    terminal_class: TerminalClass
    model: str
    firmware: str
    app_version: str
    has_printer: bool
    memory_mb: float
    app_rss_mb: float
    disk_mb: float
    system_mb: float
    log_limit_mb: float
    nominal_mv: float
    log_encoding: str


MODELS: dict[TerminalClass, TerminalModel] = {
    TerminalClass.E_SIGN: TerminalModel(
        TerminalClass.E_SIGN, "TM-E30", "3.2.7", "5.4.1", False, 64, 9, 128, 70, 4, 5000, "utf-8"
    ),
    TerminalClass.TRADITIONAL: TerminalModel(
        TerminalClass.TRADITIONAL, "TM-T90", "7.11.0", "8.2.0", True, 128, 16, 256, 120, 32, 9000, "gbk"
    ),
    TerminalClass.SMART: TerminalModel(
        TerminalClass.SMART, "TM-S8", "10.4.2", "6.18.3", True, 2048, 210, 16384, 7900, 500, 5000, "utf-8"
    ),
    TerminalClass.KIOSK: TerminalModel(
        TerminalClass.KIOSK, "TM-K5", "10.1.0", "6.18.3", True, 4096, 230, 32768, 9500, 500, 12000, "utf-8"
    ),
}

# What the terminal is set to, and may be set to.
DEFAULT_CONFIG: dict[str, str] = {
    "apn": "cmnet",
    "dns_server": "223.5.5.5",
    "acquirer_host": "acquirer.example",
    "acquirer_port": "5001",
    "log_level": "info",
    "heartbeat_s": "60",
    "auto_sign_in": "on",
    "receipt_copies": "2",
}
