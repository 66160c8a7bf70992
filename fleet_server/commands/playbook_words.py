"""What ``fleet-server playbooks`` says, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_server.commands.client_words import plain, words_of

_ENDS: Mapping[str, tuple[str, str]] = {
    "fixed": ("已修好", "mended"),
    "nothing_wrong": ("没有问题", "nothing wrong"),
    "technician": ("派技术员，带上", "send a technician with"),
    "handover": ("转交给", "hand over to"),
    "undecided": ("需要人来看", "somebody has to look"),
}
_WHOM: Mapping[str, tuple[str, str]] = {
    "acquirer": ("收单机构", "the acquirer"),
    "carrier": ("运营商", "the carrier"),
    "site": ("门店", "the shop"),
    "terminal_management": ("终端管理", "terminal management"),
}
_WHY: Mapping[str, tuple[str, str]] = {
    "not_told": ("有一步没做成或没有结果", "a step could not be done, or told nothing"),
    "cancelled": ("已取消", "cancelled"),
    "expired": ("超过了总时限", "its time was up"),
    "refused": ("下一步被拒绝", "the next step was refused"),
    "requester_gone": ("发起人的账号已停用", "the account of whoever started it is closed"),
}
_RESULTS: Mapping[str, tuple[str, str]] = {
    "ran": ("已完成", "done"),
    "not_run": ("未能执行", "could not be run"),
    "fixed": ("证实修好", "proved fixed"),
    "not_fixed": ("没修好", "not fixed"),
    "came_back": ("又出现了", "came back"),
    "not_told": ("说不清", "could not be told"),
    "not_needed": ("不需要修", "not needed"),
    "nothing_done": ("没有做", "nothing was done"),
    "no_answer": ("没有应答", "no answer"),
    "pass": ("正常", "pass"),
    "warn": ("注意", "warning"),
    "fail": ("不正常", "fail"),
    "error": ("无法判断", "could not be told"),
    "unsupported": ("此设备没有", "this device has none"),
}
_TEXTS: Mapping[str, tuple[str, str]] = {
    "suggested": ("当前故障建议", "suggested by its open faults"),
    "class": ("级别", "class"),
    "begun": ("开始", "begun"),
    "fits": ("没有问题", "is well-formed"),
    "running": ("还在进行", "still going on"),
}


def playbook_line(one: Mapping[str, Any], lang: str) -> str:
    words = words_of(lang)
    return plain(f"{one['name']:<26} {words.title(one['title'])}: {words.title(one['symptom'])}")


def offered_line(one: Mapping[str, Any], lang: str) -> str:
    place = words_of(lang).place
    line = f"{playbook_line(one['playbook'], lang)} [{_TEXTS['class'][place]} {one['danger_class']}]"
    codes = " ".join(one["suggested_by"])
    return plain(f"{line} <- {_TEXTS['suggested'][place]}: {codes}" if codes else line)


def walk_line(one: Mapping[str, Any], lang: str) -> str:
    words = words_of(lang)
    what = end_words(one, lang) if one["state"] == "over" else _TEXTS["running"][words.place]
    return plain(f"{one['id']}  {one['started_at']}  {words.title(one['title'])}  {one['started_by']}  {what}")


def step_line(one: Mapping[str, Any], lang: str) -> str:
    words = words_of(lang)
    head = f"{one['number']:>2}. {words.title(one['title'])}" + (f" ({one['action']})" if one["action"] else "")
    if one["ended_at"] is None:
        return plain(f"{head} ...")
    found = [word for word in (one["result"], one["verdict"]) if word is not None and word != "ran"]
    said = [_word(_RESULTS, word, words.place) for word in found]
    return plain(f"{head}: {' '.join([*said, *one['codes']])}".rstrip(": "))


def end_words(one: Mapping[str, Any], lang: str) -> str:
    words = words_of(lang)
    end = one["end"]
    if end is None:
        return plain(
            f"{_ENDS['undecided'][words.place]}: {_word(_WHY, one['why'], words.place)} {one['code']}".rstrip()
        )
    with_what = " ".join(end["parts"]) or ("" if end["to"] is None else _word(_WHOM, end["to"], words.place))
    kind = f"{_word(_ENDS, end['as'], words.place)} {with_what}".strip()
    return plain(f"{kind}. {words.title(end['say'])}")


def well_formed(name: str, lang: str) -> str:
    return plain(f"{name} {_TEXTS['fits'][words_of(lang).place]}")


def _word(table: Mapping[str, tuple[str, str]], word: str, place: int) -> str:
    return table[word][place] if word in table else word
