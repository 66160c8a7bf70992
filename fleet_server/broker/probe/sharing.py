"""Questions about shared subscriptions, which the ingest workers live on."""

from __future__ import annotations

from fleet_server.broker.probe.client import Wishes
from fleet_server.broker.probe.stage import Finding, Question, Stage, collected, collected_by, flood

_COUNT = 100
_HELD = 20
_LIVES_S = 60


def shared(stage: Stage) -> Finding:
    group, workers = stage.group(), [stage.service(0), stage.service(1)]
    for worker in workers:
        worker.subscribe(stage.shared(group))
    flood(stage.device(), stage.up(), _COUNT)
    shares = collected_by(stage, workers, _COUNT)
    every = sorted(map(int, (*shares[0], *shares[1])))
    said = f"{_COUNT} -> {len(shares[0])} + {len(shares[1])}"
    return Finding(every == list(range(_COUNT)) and all(shares), said, said)


def dead_member(stage: Stage) -> Finding:
    """The member that dies connected as ingest does: what it held is sent again by agents, what is new must go on."""
    new, _ = _after_death(stage, expiry_s=0)
    said = f"{_COUNT} -> {new}"
    return Finding(new == _COUNT, f"死后的消息：{said}", f"messages after its death: {said}")


def redelivery(stage: Stage) -> Finding:
    _, held = _after_death(stage, expiry_s=0)
    said = f"{_HELD} -> {held}"
    return Finding(held == _HELD, f"死者未确认的消息：{said}", f"what it had not acknowledged: {said}")


def persistent_member(stage: Stage) -> Finding:
    try:
        new, _ = _after_death(stage, expiry_s=_LIVES_S)
    finally:
        stage.forget_session(stage.cast.services[0])
    said = f"{_COUNT} -> {new}"
    return Finding(new == _COUNT, f"其他成员收到 {said}", f"the others got {said}")


def _after_death(stage: Stage, expiry_s: int) -> tuple[int, int]:
    """How many of the messages after one member's death reach the other, and how many of those that it held."""
    group, sender = stage.group(), stage.device()
    dying = stage.service(0, Wishes(acknowledges=False, expiry_s=expiry_s))
    dying.subscribe(stage.shared(group))
    flood(sender, stage.up(), _HELD, "held-")
    dying.take(_HELD, 3.0 * stage.patience)
    survivor = stage.service(1)
    survivor.subscribe(stage.shared(group))
    dying.cut()
    flood(sender, stage.up(), _COUNT, "new-")
    got = set(collected(stage, survivor, _COUNT + _HELD))
    return sum(one.startswith("new-") for one in got), sum(one.startswith("held-") for one in got)


def guessed_group(stage: Stage) -> Finding:
    return _thief(stage, stage.group(), stage.group())


def known_group(stage: Stage) -> Finding:
    group = stage.group()
    return _thief(stage, group, group)


def _thief(stage: Stage, group: str, guess: str) -> Finding:
    worker, thief = stage.service(), stage.device(1)
    worker.subscribe(stage.shared(group))
    for topic in (stage.up(), stage.up().rpartition("/")[0] + "/#"):
        thief.subscribe(f"$share/{guess}/{topic}")
    flood(stage.device(), stage.up(), _COUNT)
    got, stolen = len(collected(stage, worker, _COUNT)), len(thief.take(1, stage.settled_s))
    return Finding(
        got == _COUNT and not stolen,
        f"服务收到 {_COUNT} -> {got}，设备收到 {stolen}",
        f"the service got {_COUNT} -> {got}, the device {stolen}",
    )


QUESTIONS = (
    Question("shared", "共享订阅：每条消息恰好到一个成员",
             "a shared subscription gives each message to just one member",
             needed=True, ask=shared, services=2),
    Question("dead_member", "死掉的成员不扣留消息", "a dead member of a group holds nothing back",
             needed=True, ask=dead_member, services=2),
    Question("guessed_group", "设备猜测共享组，得不到也夺不走消息", "a device that guesses at groups takes nothing",
             needed=True, ask=guessed_group, devices=2),
    Question("redelivery", "死掉的成员未确认的消息转给其他成员",
             "what a dead member had not acknowledged goes to another",
             needed=False, ask=redelivery, services=2),
    Question("persistent_member", "保留会话的成员死掉后不扣留消息",
             "nor does one whose session is kept hold anything back",
             needed=False, ask=persistent_member, services=2),
    Question("known_group", "设备即使知道共享组名也夺不走消息", "even a device that knows a group's name takes nothing",
             needed=False, ask=known_group, devices=2),
)  # fmt: skip
