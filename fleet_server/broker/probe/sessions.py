"""Questions about sessions: expiry, take-over, wills, keep-alive, and what is kept for a device that is away."""

from __future__ import annotations

import time
from typing import Any

from fleet_server.broker.probe.client import Will, Wishes
from fleet_server.broker.probe.errors import NoAnswer
from fleet_server.broker.probe.stage import Finding, Question, Stage

_LIVES_S = 60
_KEEPALIVE_S = 2
_WILL_S = 10.0
# mosquitto looks every few seconds whose time is over.
_SILENT_S = 10.0


def session_expiry_zero(stage: Stage) -> Finding:
    present, came = _away(stage, expiry_s=0)
    if present or came:
        return Finding(False, f"会话仍在，收到 {came} 条", f"the session was still there, {came} messages came")
    return Finding(True, "会话随连接结束", "the session ended with its connection")


def session_kept(stage: Stage) -> Finding:
    present, came = _away(stage, expiry_s=_LIVES_S)
    said = f"session present={present}, 1 -> {came}"
    return Finding(present and came == 1, said, said)


def message_expiry(stage: Stage) -> Finding:
    present, came = _away(stage, expiry_s=_LIVES_S, MessageExpiryInterval=1)
    if not present:
        return Finding(None, "会话没有保留，无法判断", "no session is kept, so it cannot be told")
    if came:
        return Finding(False, "过期的消息仍然送达", "a message past its expiry was delivered")
    return Finding(True, "过期的消息没有送达", "a message past its expiry was not delivered")


def _away(stage: Stage, expiry_s: int, **properties: Any) -> tuple[bool, int]:
    """A device subscribes, is cut off, misses a message and comes back: was its session there, and how many came."""
    device = stage.device(wishes=Wishes(expiry_s=expiry_s))
    try:
        device.subscribe(stage.down())
        device.cut()
        service = stage.service()
        # A broker may take a moment to see that the connection is gone.
        time.sleep(stage.settled_s)
        service.publish(stage.down(), b"missed", **properties)
        time.sleep(2.2 if properties else 0)
        back = stage.device(wishes=Wishes(clean_start=False, expiry_s=expiry_s))
        return back.session_present, len(back.take(1, 2.0 if expiry_s and not properties else stage.settled_s))
    finally:
        stage.forget_session(stage.cast.devices[0])


def will_delivered(stage: Stage) -> Finding:
    service = stage.service()
    service.subscribe(stage.up())
    device = stage.device(wishes=Wishes(will=Will(stage.up())))
    device.cut()
    begin = time.monotonic()
    wait_s = _WILL_S * stage.patience
    if not service.take(1, wait_s):
        return Finding(False, f"{wait_s:.0f} 秒内没有遗嘱", f"no will within {wait_s:.0f} s")
    took = f"{time.monotonic() - begin:.1f} s"
    return Finding(True, f"{took} 后收到遗嘱", f"the will came after {took}")


def keepalive(stage: Stage) -> Finding:
    service = stage.service()
    service.subscribe(stage.up())
    device = stage.device(wishes=Wishes(keepalive_s=_KEEPALIVE_S, will=Will(stage.up())))
    prescribed = device.announced.get("ServerKeepAlive", _KEEPALIVE_S)
    if prescribed > _KEEPALIVE_S:
        return Finding(
            None, f"broker 规定保活为 {prescribed} 秒，未等待", f"the broker prescribes {prescribed} s; not waited for"
        )
    begin = time.monotonic()
    device.freeze()
    if not service.take(1, _SILENT_S):
        return Finding(
            False,
            f"保活 {_KEEPALIVE_S} 秒，沉默 {_SILENT_S:.0f} 秒后仍未断开",
            f"silent for {_SILENT_S:.0f} s with a keep-alive of {_KEEPALIVE_S} s, and still connected",
        )
    took = f"{time.monotonic() - begin:.1f} s"
    return Finding(True, f"沉默 {took} 后被断开", f"cut off after {took} of silence")


def takeover(stage: Stage) -> Finding:
    first = stage.device()
    stage.device()
    if first.is_lost(5.0 * stage.patience):
        return Finding(True, "旧连接被断开", "the older connection was ended")
    return Finding(False, "同名的两个连接并存", "two connections of one name stay")


def client_id_is_the_certificates(stage: Stage) -> Finding:
    victim = stage.device()
    try:
        stage.device(1, Wishes(client_id=stage.cast.devices[0].name))
    except NoAnswer as error:
        refused = str(error)
    else:
        refused = ""
    if victim.is_lost(stage.settled_s * 2):
        return Finding(False, "另一台设备用其客户端标识把它踢下线", "another device threw it out by its client id")
    if refused:
        return Finding(True, f"冒用客户端标识被拒绝（{refused}）", f"another's client id is refused ({refused})")
    return Finding(True, "冒用的客户端标识不起作用", "another's client id has no effect")


QUESTIONS = (
    Question(
        "session_expiry_zero", "会话有效期 0：随连接结束", "session expiry 0 ends a session with its connection",
        needed=True, ask=session_expiry_zero,
    ),
    Question("will", "连接中断后送出遗嘱", "delivers the will of a cut connection", needed=True, ask=will_delivered),
    Question("keepalive", "沉默的连接被断开", "cuts off who is silent beyond its keep-alive", True, keepalive),
    Question("takeover", "同名的新连接取代旧连接", "a new connection takes over from an older one", True, takeover),
    Question(
        "client_id", "客户端标识不能冒用", "nobody can use another device's client id",
        needed=True, ask=client_id_is_the_certificates, devices=2,
    ),
    Question("session_kept", "为离线设备保留会话", "keeps the session of a device that is away", False, session_kept),
    Question("message_expiry", "消息按期失效", "keeps to a message's expiry", False, message_expiry),
)  # fmt: skip
