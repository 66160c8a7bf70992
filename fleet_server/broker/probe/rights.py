"""Questions about rights: a SUBACK or PUBACK proves nothing, so what is looked at is what arrives."""

from __future__ import annotations

from fleet_server.broker.probe.client import FAILURE_FROM, ProbeClient, Will, Wishes
from fleet_server.broker.probe.errors import NoAnswer
from fleet_server.broker.probe.stage import Finding, Question, Stage
from protocol.topics import PREFIX

# mosquitto writes its statistics every 10 s.
_STATISTICS_S = 11.0


def reads_own_only(stage: Stage) -> Finding:
    victim, spy, service = stage.device(), stage.device(1), stage.service()
    victim.subscribe(stage.down())
    service.subscribe(stage.up())
    for topic in (stage.down(), stage.up(), f"{PREFIX}/+/down/#", f"{PREFIX}/+/up/#", "#", "+/#"):
        _subscribe_if_let(spy, topic)
    service.publish(stage.down(), b"private")
    victim.publish(stage.up(), b"private")
    came = len(victim.take(1)), len(service.take(1))
    # A running installation has messages of its own: only those of this run count.
    seen = [one for one in spy.take(100, stage.settled_s) if stage.run in one.topic]
    if came != (1, 1):
        return Finding(
            False, f"应收到的也没有收到：设备 {came[0]}，服务 {came[1]}",
            f"not even the entitled got theirs: device {came[0]}, service {came[1]}",
        )  # fmt: skip
    if seen:
        return Finding(False, f"另一台设备读到了：{seen[0].topic}", f"another device read {seen[0].topic}")
    return Finding(True, "另一台设备什么也没有读到", "another device read nothing")


def _subscribe_if_let(spy: ProbeClient, topic: str) -> None:
    """A refusal by a reason code or by the end of the connection is as good as silence."""
    try:
        spy.subscribe(topic)
    except NoAnswer:
        return


def writes_own_only(stage: Stage) -> Finding:
    victim, service, forger = stage.device(), stage.service(), stage.device(1)
    victim.subscribe(stage.down())
    service.subscribe(stage.up())
    told = []
    for topic in (stage.up(), stage.down()):
        try:
            told.append(forger.publish(topic, b"forged"))
        except NoAnswer:
            forger = stage.device(1)
    arrived = [*service.take(1, stage.settled_s), *victim.take(1, stage.settled_s)]
    if arrived:
        return Finding(False, f"伪造的消息送达：{arrived[0].topic}", f"a forged message arrived: {arrived[0].topic}")
    codes = ", ".join(f"0x{code:02x}" for code in told) or "-"
    return Finding(True, f"伪造的消息没有送达（{codes}）", f"no forged message arrived ({codes})")


def says_so(stage: Stage) -> Finding:
    """An agent that is told "Success" for what was thrown away waits for nothing."""
    try:
        reason = stage.device(1).publish(stage.up(), b"forged")
    except NoAnswer as error:
        return Finding(True, f"连接被断开（{error}）", f"the connection was ended ({error})")
    return Finding(reason >= FAILURE_FROM, f"应答 0x{reason:02x}", f"answered 0x{reason:02x}")


def will_of_own_only(stage: Stage) -> Finding:
    service = stage.service()
    service.subscribe(stage.up())
    try:
        stage.device(1, Wishes(will=Will(stage.up(), b"forged"))).cut()
    except NoAnswer as error:
        return Finding(True, f"连接被拒绝（{error}）", f"the connection is refused ({error})")
    if service.take(1, 2 * stage.settled_s):
        return Finding(False, "以别人名义的遗嘱送达", "a will on another's topic arrived")
    return Finding(True, "以别人名义的遗嘱没有送达", "no will on another's topic arrived")


def reads_no_statistics(stage: Stage) -> Finding:
    spy = stage.device()
    _subscribe_if_let(spy, "$SYS/#")
    seen = spy.take(1, _STATISTICS_S * stage.patience)
    if seen:
        return Finding(False, f"读到了 {seen[0].topic}", f"it read {seen[0].topic}")
    return Finding(True, "什么也没有读到", "it read nothing")


QUESTIONS = (
    Question("acl_read", "设备只读自己的主题", "a device reads its own topics only", True, reads_own_only, devices=2),
    Question("acl_write", "设备只写自己的主题", "a device writes its own topics only", True, writes_own_only,
             devices=2),
    Question("acl_will", "遗嘱也受权限约束", "a will obeys the same rights", True, will_of_own_only, devices=2),
    Question("acl_sys", "设备读不到 $SYS", "a device reads nothing of $SYS", True, reads_no_statistics),
    Question("refusal_told", "被丢弃的发布有拒绝应答", "who may not publish is told so", False, says_so, devices=2),
)  # fmt: skip
