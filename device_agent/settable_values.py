"""Which values of a terminal's configuration may be set from afar, and what each may be.

The allow-list: a value that is not here is neither shown nor set, whatever the terminal would accept. Ways into the
network (APN, resolver, host) are among them because a wrong one is what has to be mended; secrets never are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from protocol.parameters import Words

_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,126}[A-Za-z0-9])?"


@dataclass(frozen=True, slots=True)
class SettableValue:
    """``pattern``: the whole of what the value may be."""

    name: str
    title: Words
    pattern: str

    def accepts(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value) is not None


STANDARD_VALUES: tuple[SettableValue, ...] = (
    SettableValue("apn", Words("接入点APN", "Access point name (APN)"), r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}"),
    SettableValue("dns_server", Words("域名服务器", "DNS server"), r"[0-9]{1,3}(\.[0-9]{1,3}){3}"),
    SettableValue("acquirer_host", Words("收单主机", "Acquirer host"), _HOST),
    SettableValue("acquirer_port", Words("收单端口", "Acquirer port"), r"[1-9][0-9]{0,4}"),
    SettableValue("log_level", Words("日志级别", "Log level"), r"error|warn|info|debug"),
    SettableValue("heartbeat_s", Words("心跳间隔（秒）", "Heartbeat (s)"), r"[1-9][0-9]{1,3}"),
    SettableValue("auto_sign_in", Words("自动签到", "Automatic sign-in"), r"on|off"),
    SettableValue("receipt_copies", Words("签购单联数", "Receipt copies"), r"[0-3]"),
)
