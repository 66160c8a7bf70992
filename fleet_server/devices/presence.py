"""What a device's presence means, judged by the terminal's own habit. Pure.

`Presence` is what is known of the connection; `Judgement` is what a person should think of it. A shop that is closed
has a terminal that is off as usual; that is no fault.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum


class Presence(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why it is not online, where the server found that out itself. A will or a goodbye says its own reason."""

    NOT_HEARD = "not_heard"
    GATEWAY = "gateway"  # an attached device whose gateway is away: nothing is known of it
    LINE = "line"  # its gateway is there, but it does not answer on its line


class Judgement(StrEnum):
    ONLINE = "online"
    OFF_AS_USUAL = "off_as_usual"
    SILENT_WHILE_TRADING = "silent_while_trading"
    NOT_KNOWN = "not_known"


# From here on it is more likely that the shop trades than not.
_TRADES_FROM = 0.5


def judge(presence: Presence, reason: str, trading: float | None) -> Judgement:
    """``trading``: how likely the shop trades now, None when not known."""
    if presence is Presence.ONLINE:
        return Judgement.ONLINE
    if reason == Reason.GATEWAY or trading is None:
        return Judgement.NOT_KNOWN
    return Judgement.SILENT_WHILE_TRADING if trading >= _TRADES_FROM else Judgement.OFF_AS_USUAL


def allowance(report_s: float, keepalive_s: float) -> timedelta:
    """How long nothing need be heard of a link that is well."""
    return timedelta(seconds=report_s + 1.5 * keepalive_s)


def expected_by(heard_at: datetime, report_s: float, keepalive_s: float) -> datetime:
    return heard_at + allowance(report_s, keepalive_s)
