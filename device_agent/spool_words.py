"""The spool in words, for `device-agent status`: fill, what waits and since when, what was given up, gaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_MIB: Final = 1024 * 1024
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S


def spool_lines(answer: dict[str, Any]) -> Iterator[str]:
    """From the agent's answer to `status`."""
    room = answer["room"]
    used, quota = room["used_bytes"], room["quota_bytes"]
    sound = "file is sound" if answer["spool"] == "ok" else f"FILE IS DAMAGED: {answer['spool']}"
    yield f"spool: {used / _MIB:.1f} of {quota / _MIB:.1f} MiB used ({used * 100 // quota} %), {sound}"
    if room["is_disk_full"]:
        yield "spool: THE DISK IS FULL, the least important records are given up for new ones; make room"
    for name, stream in answer["streams"].items():
        yield (
            f"{name}: {stream['last'] - stream['acked']} not acknowledged of {stream['last']}, "
            f"{stream['shed']} given up{_oldest(stream, answer['trusted_ms'])}"
        )
    yield f"gaps: {_gaps(answer)}"


def data_lines(answer: dict[str, Any]) -> Iterator[str]:
    """What the link has carried, from the agent's answer to `status`."""
    data = answer["data"]
    parts = [
        f"{data[f'{span}_bytes'] / _MIB:.2f}{_of(data[f'{span}_limit_bytes'])} MiB this {span}"
        for span in ("month", "day")
    ]
    yield f"data: {', '.join(parts)}"
    if data["level"] != "free":
        word = "SPENT" if data["level"] == "spent" else "nearly spent"
        rarely = f"health {data['slower']} times more rarely"
        yield f"data: BUDGET {word}: no live mode, {rarely}; faults and results as ever"


def _of(limit_bytes: int) -> str:
    return f" of {limit_bytes / _MIB:.1f}" if limit_bytes else ""


def _oldest(stream: dict[str, Any], now_ms: int) -> str:
    if not stream["waiting"]:
        return ""
    oldest_ms = stream["oldest_waiting_ms"]
    return f", oldest waiting for {_span((now_ms - oldest_ms) // 1000)}" if oldest_ms else ", oldest of unknown time"


def _gaps(answer: dict[str, Any]) -> str:
    given_up = sum(stream["shed"] for stream in answer["streams"].values())
    unconfirmed = answer["declarations_waiting"]
    if not given_up and not unconfirmed:
        return "none"
    heard = f"declarations not yet acknowledged: {unconfirmed}" if unconfirmed else "the server knows of all"
    return f"{given_up} records given up for want of room, each declared; {heard}"


def _span(seconds: int) -> str:
    if seconds >= 2 * _DAY_S:
        return f"{seconds // _DAY_S} days"
    if seconds >= 2 * _HOUR_S:
        return f"{seconds // _HOUR_S} h"
    if seconds >= 2 * _MINUTE_S:
        return f"{seconds // _MINUTE_S} min"
    # A clock that was set back since makes no negative age.
    return f"{max(seconds, 0)} s"
