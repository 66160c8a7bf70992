from __future__ import annotations

import threading
from dataclasses import dataclass, field

from device_agent.core.effects import Connect, Event, LinkUp, Polled, Publish
from device_agent.runner import MAX_EVENTS, MAX_TAKEN, Call, EventQueue, Runner
from protocol.identifiers import DeviceId
from tests.device_agent.core.rig import at
from tests.device_agent.core.test_agent import Rig

POLL = Polled(DeviceId("gw-00000001"), True, {}, frozenset())


@dataclass(slots=True)
class Recorder:
    """A link that only remembers."""

    orders: list[Connect] = field(default_factory=list)
    published: list[Publish] = field(default_factory=list)
    goodbyes: list[Publish | None] = field(default_factory=list)

    def connect(self, order: Connect) -> None:
        self.orders.append(order)

    def publish(self, message: Publish) -> None:
        self.published.append(message)

    def abort(self, reason: str) -> None:
        raise AssertionError(reason)

    def close(self, goodbye: Publish | None) -> None:
        self.goodbyes.append(goodbye)


def runner(events: EventQueue, link: Recorder, rig: Rig) -> Runner:
    return Runner(rig.core, link, {}, events, lambda: at(2000.0), lambda _now_ms: None)


def test_full_queue_drops_polls_and_counts_them() -> None:
    events = EventQueue()
    for _ in range(MAX_EVENTS + 5):
        events.put(POLL)
    assert events.dropped_polls == 5


def test_what_is_there_already_is_taken_together_up_to_a_limit() -> None:
    events = EventQueue()
    for _ in range(MAX_TAKEN + 5):
        events.put(POLL)
    assert (len(events.take(1.0)), len(events.take(0.0)), events.take(0.0)) == (MAX_TAKEN, 5, [])


def test_stopped_runner_says_goodbye_to_who_is_there() -> None:
    rig, events, link = Rig(), EventQueue(), Recorder()
    rig.established()
    events.stop()
    runner(events, link, rig).run()
    assert [one is not None for one in link.goodbyes] == [True]


def test_runner_connects_greets_and_answers_calls_on_its_own_thread() -> None:
    rig, events, link = Rig(), EventQueue(), Recorder()
    seen: list[str] = []

    def look(_now: object) -> None:
        seen.append(threading.current_thread().name)
        follow: Event = LinkUp()
        events.put(follow)
        events.put(Call(lambda _now: events.stop()))

    events.put(POLL)
    events.put(Call(look))
    thread = threading.Thread(target=runner(events, link, rig).run, name="the runner", daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert seen == ["the runner"]
    assert len(link.orders) == 1
    assert {one.kind.value for one in link.published} == {"presence", "hello"}
