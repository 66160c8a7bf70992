"""What ``fleet-server inspections`` says, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_server.commands.client_words import plain, words_of

_STATES: Mapping[str, tuple[str, str]] = {
    "active": ("启用中", "active"),
    "paused": ("已暂停", "paused"),
    "ended": ("已结束", "ended"),
    "waiting": ("等待轮到", "waits for its moment"),
    "asked": ("已下发", "asked"),
    "done": ("已完成", "done"),
    "missed": ("未检", "missed"),
}
_RESULTS: Mapping[str, tuple[str, str]] = {
    "pass": ("正常", "pass"),
    "warn": ("注意", "warning"),
    "fail": ("不正常", "fail"),
    "error": ("无法判断", "could not be told"),
    "unsupported": ("不支持", "not supported"),
}
_MISSED: Mapping[str, tuple[str, str]] = {
    "offline": ("当时离线", "was offline"),
    "no_answer": ("没有应答", "did not answer"),
    "server_away": ("服务器当时不在运行", "the server was not there"),
    "retired": ("已停用", "was taken out of service"),
    "capabilities_unknown": ("尚未说明自身功能", "has not said what it can do"),
    "paused": ("检查计划当时已暂停", "the inspection was paused"),
    "freeze": ("当时封网", "a freeze was in force"),
    "suspended": ("租户当时已暂停服务", "the tenant was suspended"),
}
_TEXTS: Mapping[str, tuple[str, str]] = {
    "every_day": ("每天", "every day"),
    "all": ("全部设备", "all devices"),
    "reaches": ("台设备", "devices"),
    "has": ("台有此检查，查看了", "have it, looked at"),
}
_DAYS = (
    ("周一", "Mon"),
    ("周二", "Tue"),
    ("周三", "Wed"),
    ("周四", "Thu"),
    ("周五", "Fri"),
    ("周六", "Sat"),
    ("周日", "Sun"),
)


def plan_line(one: Mapping[str, Any], lang: str) -> str:
    place = words_of(lang).place
    days = [_DAYS[day - 1][place] for day in one["days"]]
    when = _TEXTS["every_day"][place] if len(days) == len(_DAYS) else " ".join(days)
    group = [str(len(value)) if key == "ids" else str(value) for key, value in one["devices"].items() if value]
    parts = [
        one["id"],
        _word(_STATES, one["state"], place),
        one["name"],
        f"{when} {one['at']} +{one['window_min']} min",
        " ".join(one["checks"]),
        " ".join(group) or _TEXTS["all"][place],
    ]
    return plain("  ".join(parts))


def preview_lines(found: Mapping[str, Any], lang: str) -> list[str]:
    words = words_of(lang)
    lines = [f"{found['devices']} {_TEXTS['reaches'][words.place]}"]
    lines += [f"{one['timezone']}  {one['devices']}  {one['opens_at']}" for one in found["zones"]]
    for check, count in found["has"].items():
        title = found["offered"].get(check)
        name = check if title is None else f"{check} ({words.title(title)})"
        lines.append(f"{name}: {count} {_TEXTS['has'][words.place]} {found['looked_at']}")
    return [plain(line) for line in lines]


def round_line(one: Mapping[str, Any], lang: str) -> str:
    place = words_of(lang).place
    counts = [f"{_word(_RESULTS, key, place)} {number}" for key, number in one["outcomes"].items()]
    counts += [f"{_word(_STATES, key, place)} {one[key]}" for key in ("waiting", "asked") if one[key]]
    missed = dict(one["missed"])
    if one["reason"]:
        missed[one["reason"]] = one["devices"]
    counts += [f"{_STATES['missed'][place]} {number} ({_word(_MISSED, why, place)})" for why, number in missed.items()]
    return plain("  ".join([one["date"], one["timezone"], f"{one['devices']}", ", ".join(counts)]))


def turn_line(one: Mapping[str, Any], lang: str) -> str:
    place = words_of(lang).place
    end = _word(_RESULTS, one["outcome"], place) if one["outcome"] else _word(_STATES, one["state"], place)
    checks = [f"{result['check']}={_check(result['outcome'], place)}" for result in one["results"]]
    reason = f"({_word(_MISSED, one['reason'], place)})" if one["reason"] else ""
    return plain("  ".join(part for part in (one["device"], end, reason, " ".join(checks)) if part))


def _check(outcome: str | None, place: int) -> str:
    return "…" if outcome is None else _word(_RESULTS, outcome, place) if outcome else "-"


def _word(words: Mapping[str, tuple[str, str]], name: str, place: int) -> str:
    return words[name][place] if name in words else name
