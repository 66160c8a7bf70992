"""Firmware that never stops changing: declared seldom, and the last version in the end."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.core.declaration import UNASKED_EVERY_S, Declaration
from device_agent.core.effects import Polled, Publish
from device_agent.core.instant import NS_PER_S, Instant
from device_agent.core.watch import DeviceSpec
from protocol import codec
from protocol.capabilities import Capabilities
from protocol.identifiers import DeviceId

DEVICE = DeviceId("zvt-00000001")
WALL = datetime(2026, 3, 2, tzinfo=UTC)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("look"), st.sampled_from(["1.0", "1.1", "1.2"])),
        st.tuples(st.just("pass_s"), st.integers(1, 900)),
        st.tuples(st.just("ask"), st.none()),
        st.tuples(st.just("greet"), st.none()),
    ),
    max_size=60,
)


def at(s: float) -> Instant:
    return Instant(int(s * NS_PER_S), WALL)


def firmware(told: Publish) -> str:
    document = codec.decode(told.payload, told.content_type, Capabilities)
    assert isinstance(document, Capabilities)
    return document.devices[0].firmware


def look(version: str) -> Polled:
    return Polled(DEVICE, True, {Declaration.READING: version}, frozenset())


@settings(max_examples=60)
@given(STEPS)
def test_unasked_it_is_declared_seldom_and_the_last_version_gets_through(
    steps: list[tuple[str, str | int | None]],
) -> None:
    declaration = Declaration([DeviceSpec(DEVICE, "zvt", "kiosk", {})], lambda _name: None, str)
    declaration.greeted()
    now_s, unasked, server_knows = 5.0, [], ""
    for step, value in steps:
        if step == "look":
            declaration.on_polled(look(str(value)))
        elif step == "pass_s":
            now_s += int(value or 0)
        elif step == "ask":
            server_knows = firmware(declaration.asked())
        else:
            # A server that knows another digest than that of the hello asks.
            declaration.greeted()
            server_knows = firmware(declaration.asked())
        told = declaration.unasked(at(now_s))
        if told is not None:
            unasked.append(now_s)
            server_knows = firmware(told)
    assert all(later - earlier >= UNASKED_EVERY_S for earlier, later in pairwise(unasked))
    due_ns = declaration.next_due_ns()
    if due_ns is not None:
        assert due_ns <= at(now_s + UNASKED_EVERY_S).monotonic_ns
        told = declaration.unasked(Instant(due_ns, WALL))
        assert told is not None
        server_knows = firmware(told)
    assert server_knows == declaration.capabilities.devices[0].firmware
    assert declaration.next_due_ns() is None
