"""Questions about single messages: order, size, properties, retention, flow control, topic aliases."""

from __future__ import annotations

import time
from typing import Any

from fleet_server.broker.probe.client import FAILURE_FROM, Wishes
from fleet_server.broker.probe.errors import NoAnswer
from fleet_server.broker.probe.stage import Finding, Question, Stage, collected, flood
from protocol.broker_rules import MAX_PACKET_BYTES

_COUNT = 200
# The largest report: 64 KiB as sent, with what is around it.
_REPORT_BYTES = 66_000
_MOST_ALLOWED_BYTES = 4 * MAX_PACKET_BYTES
_WINDOW = 5
_MANY = 60


def order(stage: Stage) -> Finding:
    service = stage.service()
    service.subscribe(stage.up())
    flood(stage.device(), stage.up(), _COUNT)
    got = [int(one) for one in collected(stage, service, _COUNT)]
    said = f"{_COUNT} -> {len(got)}"
    if got == list(range(_COUNT)):
        return Finding(True, f"{said}，依次到达", f"{said}, in order")
    return Finding(False, f"{said}，缺失、重复或乱序", f"{said}, some missing, doubled or out of order")


def report_size(stage: Stage) -> Finding:
    service = stage.service()
    service.subscribe(stage.up())
    payload = bytes(range(256)) * (_REPORT_BYTES // 256)
    stage.device().publish(stage.up(), payload)
    got = service.take(1)
    if got and got[0].payload == payload:
        return Finding(True, f"{len(payload)} 字节完整送达", f"{len(payload)} bytes arrived whole")
    return Finding(False, f"{len(payload)} 字节没有完整送达", f"{len(payload)} bytes did not arrive whole")


def packet_limit(stage: Stage) -> Finding:
    limit = stage.device().announced.get("MaximumPacketSize")
    if limit is None:
        return Finding(False, "没有宣布报文上限", "no limit on packets is announced")
    said = f"{limit} B"
    return Finding(MAX_PACKET_BYTES // 2 <= limit <= _MOST_ALLOWED_BYTES, said, said)


def properties_kept(stage: Stage) -> Finding:
    service = stage.service()
    service.subscribe(stage.up())
    given: dict[str, Any] = {
        "ContentType": "application/json+deflate",
        "ResponseTopic": stage.down(),
        "CorrelationData": b"\x00\xff7",
        "UserProperty": [("probe", "1")],
    }
    stage.device().publish(stage.up(), b"x", **given)
    got = service.take(1)
    if not got:
        return Finding(False, "消息没有送达", "the message did not arrive")
    lost = [name for name, value in given.items() if got[0].properties.get(name) != value]
    if lost:
        return Finding(False, f"丢失：{', '.join(lost)}", f"lost: {', '.join(lost)}")
    return Finding(True, ", ".join(given), ", ".join(given))


def nothing_retained(stage: Stage) -> Finding:
    device = stage.device()
    announced = device.announced.get("RetainAvailable", 1)
    try:
        reason = device.publish(stage.up(), b"retained", retain=True)
    except NoAnswer:
        return Finding(True, "保留消息使连接被断开", "a retained message ends the connection")
    service = stage.service()
    service.subscribe(stage.up())
    kept = bool(service.take(1, 2 * stage.settled_s))
    if kept:
        # Empty: forget it.
        stage.device().publish(stage.up(), b"", retain=True)
        return Finding(False, "保留消息被记住", "a retained message was remembered")
    told = f"0x{reason:02x}" if reason >= FAILURE_FROM or announced else "RetainAvailable 0"
    return Finding(True, f"没有保留（{told}）", f"nothing was kept ({told})")


def receive_maximum(stage: Stage) -> Finding:
    """Acknowledged one by one: some brokers hold to it only until the first acknowledgement."""
    service = stage.service(wishes=Wishes(receive_maximum=_WINDOW, acknowledges=False))
    service.subscribe(stage.up())
    flood(stage.device(), stage.up(), _MANY)
    waiting = service.take(_MANY, stage.settled_s)
    peak, total, give_up_s = len(waiting), len(waiting), time.monotonic() + 10
    while waiting and time.monotonic() < give_up_s:
        service.acknowledge(waiting.pop(0))
        more = service.take(_MANY, 0.05 if total < _MANY else 0)
        waiting += more
        total += len(more)
        peak = max(peak, len(waiting))
    said_zh = f"最多 {_WINDOW}，未确认的最多时 {peak}，共 {total}/{_MANY}"
    said_en = f"asked for {_WINDOW}, at most {peak} waited, {total}/{_MANY} in all"
    return Finding(peak <= _WINDOW and total == _MANY, said_zh, said_en)


def topic_alias(stage: Stage) -> Finding:
    service, device = stage.service(), stage.device()
    service.subscribe(stage.up())
    flood(device, stage.up(), 3)
    got = service.take(3)
    allowed = device.announced.get("TopicAliasMaximum", 0)
    is_whole = len(got) == 3 and all(one.topic == stage.up() and "TopicAlias" not in one.properties for one in got)
    return Finding(is_whole, f"接受设备的别名：{allowed}", f"aliases that it takes from a device: {allowed}")


QUESTIONS = (
    Question("report_size", "64 KiB 的报告完整送达", "delivers a report of 64 KiB", True, report_size),
    Question("properties", "保留内容类型、应答主题、关联数据和用户属性",
             "keeps content type, response topic, correlation data and user properties", True, properties_kept),
    Question("retained", "不保留消息", "retains nothing", True, nothing_retained),
    Question("topic_alias", "不擅自使用主题别名", "uses no topic alias unasked", True, topic_alias),
    Question("order", "同一设备的消息依次到达", "delivers the messages of one device in order", False, order),
    Question("packet_limit", "宣布报文上限（不超过 1 MiB）", "announces a limit on packets, 1 MiB at most", False,
             packet_limit),
    Question("receive_maximum", "遵守接收方的未确认上限", "holds to the receiver's maximum", False, receive_maximum),
)  # fmt: skip
