"""What the command line says, in Chinese and English. No internal state name is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocol.shown_text import one_line

_STATES: Mapping[str, tuple[str, str]] = {
    "DRAFT": ("草稿", "drafted"),
    "AWAITING_APPROVAL": ("等待批准", "waiting for approval"),
    "QUEUED": ("已排队", "waiting in the queue"),
    "PUBLISHED": ("已交给消息服务", "handed to the broker"),
    "STORED": ("终端已收下", "the terminal has it"),
    "AWAITING_CONSENT": ("等待商户同意", "waiting for the merchant's consent"),
    "WAITING_SAFE": ("等待安全时机", "waiting for a safe moment"),
    "RUNNING": ("正在执行", "running"),
    "VERIFYING": ("正在验证是否保持", "checking that it holds"),
    "SUCCEEDED": ("已完成", "done"),
    "FAILED": ("未能完成", "failed"),
    "ROLLED_BACK": ("已还原", "undone"),
    "REJECTED": ("终端拒绝", "refused by the terminal"),
    "EXPIRED": ("排队超时，未发出", "expired in the queue, never sent"),
    "UNREACHABLE": ("终端没有应答", "the terminal did not answer"),
    "TIMED_OUT": ("超时，结果不明", "no word in time, the result is not known"),
    "CANCELLED": ("已取消", "cancelled"),
    "SUPERSEDED": ("已被新的请求代替", "replaced by a newer request"),
    "UNKNOWN": ("结果不明，请人工确认", "not known whether it happened: a person must look"),
    "INCONSISTENT": ("结果自相矛盾，请人工确认", "contradictory: a person must look"),
}
_RESULTS: Mapping[str, tuple[str, str]] = {
    "fixed": ("证实修好", "proved fixed"),
    "not_fixed": ("没修好", "not fixed"),
    "came_back": ("又出现了", "came back"),
    "not_told": ("说不清有没有修好", "could not be told whether it helped"),
    "not_needed": ("不需要修", "not needed"),
    "no_answer": ("没有应答", "no answer"),
}
_HOLDS: Mapping[str, tuple[str, str]] = {
    "transaction_running": ("正在交易", "a payment is running"),
    "batch_open": ("批次未结算", "the batch is not settled"),
    "payments_unsent": ("有交易未上送", "payments are not sent yet"),
    "reversals_pending": ("有冲正未完成", "a reversal is pending"),
    "outside_window": ("不在维护时段", "outside the maintenance window"),
    "battery_low": ("电量低", "the battery is low"),
    "data_budget_spent": ("本月流量已用完", "this month's mobile data is used up"),
    "cannot_trade": ("终端不能收款", "the terminal cannot trade"),
}
_CANCEL_ANSWERS: Mapping[str, tuple[str, str]] = {
    "refused": ("终端已停不下来", "the terminal cannot stop it any more"),
    "after_step": ("终端做完当前一步就停", "the terminal stops it after the present step"),
}
_OUTCOMES: Mapping[str, tuple[str, str]] = {
    "pass": ("正常", "pass"),
    "warn": ("注意", "warning"),
    "fail": ("不正常", "fail"),
    "error": ("无法判断", "could not be told"),
    "unsupported": ("不支持", "not supported"),
}
_PRESENCE: Mapping[str, tuple[str, str]] = {
    "online": ("在线", "online"),
    "offline": ("离线", "offline"),
    "unknown": ("未知", "not heard"),
    "silent": ("没有消息", "not heard"),
}
_CONDITIONS: Mapping[str, tuple[str, str]] = {
    "faulty": ("有故障", "faulty"),
    "silent": ("该营业却没有消息", "silent while it should trade"),
    "watch": ("留意", "to watch"),
    "well": ("正常", "well"),
    "off": ("照常关机", "off as usual"),
    "unknown": ("未知", "not known"),
}
_PHASES: Mapping[str, tuple[str, str]] = {
    "result": ("结果", "result"),
    "pre_check": ("执行前检查", "check before"),
    "post_check": ("执行后检查", "check after"),
    "later": ("过后再查", "check later"),
}
_EVENTS: Mapping[str, tuple[str, str]] = {
    "presence": ("连接", "presence"),
    "fault_raised": ("故障出现", "fault"),
    "fault_cleared": ("故障消失", "fault cleared"),
    "execution": ("执行", "run"),
    "verdict": ("检查结果", "result"),
    "reading": ("读数", "reading"),
    "gap": ("记录缺口", "gap in the records"),
    "note": ("备注", "note"),
    "security": ("安全", "security"),
    "capabilities": ("能力更新", "new capabilities"),
}
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "model": ("型号", "model"),
    "version": ("版本", "version"),
    "devices": ("设备数", "devices"),
    "out_of_range": ("超出范围", "out of range"),
    "not_known": ("不知道", "not known"),
    "min": ("最低", "lowest"),
    "p5": ("5 %", "5 %"),
    "p25": ("25 %", "25 %"),
    "median": ("中位数", "median"),
    "p75": ("75 %", "75 %"),
    "p95": ("95 %", "95 %"),
    "max": ("最高", "highest"),
}
_SENTENCES: Mapping[str, tuple[str, str]] = {
    "no_devices": ("没有找到设备。", "No device was found."),
    "no_values": ("没有设备有这项读数。", "No device has a value of this reading."),
    "left_out": (
        "另有至少 {groups} 组共 {devices} 台设备未列出。",
        "At least {groups} further groups with {devices} devices are not listed.",
    ),
    "overridden": (
        "{fixes} 次修复中有 {overridden} 次（{share} %）越过了规则。",
        "{overridden} of {fixes} fixes ({share} %) were begun in spite of a rule.",
    ),
    "not_judged": ("修复太少，还不能评判规则。", "Too few fixes to judge rules by."),
    "rule_is_wrong": (
        "错的是规则“{rule}”，不是人：超过 5 % 的修复越过了它。请修改规则。",
        "The rule is wrong, not the people: more than 5 % of fixes went past “{rule}”. Change the rule.",
    ),
    "queued": (
        "终端不在线：请求已排队，有效期至 {until}。",
        "The terminal is not online: the request waits in the queue until {until}.",
    ),
    "to_approve": (
        "等待批准：批准人可执行 fleet-server approve {id} --key 密钥文件",
        "It waits for approval: fleet-server approve {id} --key FILE",
    ),
    "earliest": ("最早 {at}", "earliest start {at}"),
    "late": ("结束之后才说的，结果不变", "said after its end, which stays as it is"),
    "patience": ("还没有结束；请求继续有效。", "Not finished yet; the request goes on."),
    "erased": ("（已删除的人员）", "(somebody who was erased)"),
    "of_device": ("设备 {id}", "device {id}"),
    "of_site": ("门店 {id}", "site {id}"),
    "span": ("{begins} 至 {ends}", "{begins} to {ends}"),
    "not_offered": (
        "设备 {device} 不提供 {action}；可用：{offered}",
        "device {device} does not offer {action}; it offers: {offered}",
    ),
}


@dataclass(frozen=True, slots=True)
class ClientWords:
    """``place``: 0 Chinese, 1 English."""

    place: int

    def say(self, sentence: str, **values: str) -> str:
        return _SENTENCES[sentence][self.place].format(**values)

    def device_line(self, device: Mapping[str, Any]) -> str:
        parts = [
            device["id"],
            self._word(_CONDITIONS, device["condition"]),
            self._word(_PRESENCE, device["presence"]),
            device["serial_number"],
            device["terminal_id"] or "",
            self.title(device["site"]["merchant_name"]),
            self.title(device["label"]),
            device["worst_code"],
        ]
        return "  ".join(plain(part) for part in parts if part)

    def rule(self, name: str) -> str:
        """What was set aside to begin a fix."""
        return self._word({**_HOLDS, "pre_check": ("事先检查未发现问题", "the check before found nothing wrong")}, name)

    def action_line(self, action: Mapping[str, Any]) -> str:
        params = " ".join(f"[{one['name']}={one['type']}]" for one in action["params"])
        return "  ".join(part for part in (action["name"], plain(self.title(action["title"])), params) if part)

    def event_line(self, event: Mapping[str, Any]) -> str:
        data = event["data"]
        what = self.progress_line(event) or " ".join(
            str(data[name]) for name in ("code", "status", "reason", "evidence", "text", "detail") if data.get(name)
        )
        return f"{event['at']}  {self._word(_EVENTS, event['type'])}  {plain(what)}"

    def distribution_lines(self, found: Mapping[str, Any]) -> list[str]:
        """A heading, and a line for each group under the names of its numbers, apart by tabs."""
        if not found["groups"]:
            return [self.say("no_values")]
        rows = [[self._word(_COLUMNS, name) for name in _COLUMNS]]
        rows += [[_cell(group[name]) for name in _COLUMNS] for group in found["groups"]]
        lines = [f"{self.title(found['title'])} {found['unit']}".strip(), *("\t".join(row) for row in rows)]
        if found["groups_left_out"]:
            lines.append(
                self.say("left_out", groups=str(found["groups_left_out"]), devices=str(found["devices_left_out"]))
            )
        return lines

    def progress_line(self, event: Mapping[str, Any]) -> str:
        """One line for a move, a step or a verdict of an execution; "" for anything else."""
        data = event["data"]
        if event["type"] == "verdict":
            return self._verdict(data)
        if event["type"] != "execution":
            return ""
        parts = [data.get("action", ""), self._word(_STATES, data["state"])]
        if data.get("step"):
            place, count = data.get("step_index", 0) + 1, data.get("step_count", 0)
            # Checks before and after the steps are named too, and are none of them.
            counted = f" ({place}/{count})" if place <= count and data["state"] == "RUNNING" else ""
            parts.append(f"{data['step']}{counted}")
        if data.get("progress_pct") is not None:
            parts.append(f"{data['progress_pct']} %")
        parts += [self._word(_HOLDS, one) for one in data.get("holds", [])]
        if data.get("earliest_start"):
            parts.append(self.say("earliest", at=data["earliest_start"]))
        parts += [data.get("code", ""), data.get("detail", "")]
        parts.append(self._word(_CANCEL_ANSWERS, data.get("cancel_answer") or ""))
        parts.append(self.say("late") if data.get("late") else "")
        return plain("  ".join(str(part) for part in parts if part))

    def end_line(self, execution: Mapping[str, Any]) -> str:
        verdict = execution["verdict"]
        parts = [
            self.title(execution["title"]),
            self._word(_STATES, execution["state"]),
            self._word(_RESULTS, execution["result"]) if execution["result"] in _RESULTS else "",
            self._word(_OUTCOMES, verdict) if verdict else "",
            execution["code"],
            execution["detail"],
        ]
        return plain("  ".join(part for part in parts if part))

    def title(self, words: Mapping[str, str]) -> str:
        return words["en" if self.place else "zh"]

    def _verdict(self, data: Mapping[str, Any]) -> str:
        value = "" if data.get("value") is None else f"{data['value']} {data.get('unit', '')}".strip()
        phase = "" if data.get("phase") == "result" else self._word(_PHASES, data.get("phase", ""))
        parts = [
            phase,
            self._word(_OUTCOMES, data["outcome"]),
            data.get("item", ""),
            value,
            data.get("evidence", ""),
            " ".join(data.get("codes", [])),
        ]
        return plain("  ".join(part for part in parts if part))

    def _word(self, words: Mapping[str, tuple[str, str]], name: str) -> str:
        return words[name][self.place] if name in words else plain(name)


def words_of(lang: str) -> ClientWords:
    """``lang``: an option, or what LANG says; Chinese for zh…, else English."""
    return ClientWords(0 if lang.lower().startswith("zh") else 1)


def _cell(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None or value == "" else plain(value)


def plain(text: object) -> str:
    """Text of devices must not command the terminal it is shown on."""
    return one_line(str(text))
