"""What a link tells of its clock when its welcome was long on its way."""

from __future__ import annotations

import msgspec

from device_agent.core.effects import LinkUp, Polled
from protocol.identifiers import DeviceId
from protocol.session import Hello, Welcome
from protocol.signing import ACK_TYPE, WELCOME_TYPE
from protocol.streams import Batch
from protocol.topics import Down, Up
from tests.device_agent.core.rig import FLOW
from tests.device_agent.core.test_agent import LINK, Rig


def test_a_link_whose_welcome_came_late_tells_how_its_clock_stands_to_the_servers() -> None:
    for waits_s, told in ((0.5, None), (40.0, 1_800_000_000_000)):
        rig = Rig()
        rig.pass_s(5)
        rig.tell(LinkUp())
        nonce = rig.published(Up.HELLO, Hello)[-1].nonce
        rig.tell(Polled(DeviceId(LINK), True, {"sys.cpu_pct": 3.0}, frozenset()))
        rig.clock.pass_s(waits_s)
        rig.down(Down.WELCOME, WELCOME_TYPE, Welcome(nonce, True, rig.ack(), FLOW, [1]))
        assert [one.mono_offset_ms for one in rig.published(Up.BULK, Batch)] == [told]


def test_a_later_answer_that_was_quicker_tells_a_link_better_how_its_clock_stands() -> None:
    rig = Rig()
    rig.pass_s(5)
    rig.tell(LinkUp())
    nonce, ack = rig.published(Up.HELLO, Hello)[-1].nonce, rig.ack()
    rig.clock.pass_s(40)
    rig.down(Down.WELCOME, WELCOME_TYPE, Welcome(nonce, True, ack, FLOW, [1]))
    # Quicker by half a minute than the welcome; then one that was as slow again.
    for later_ms in (30_000, 10_000):
        quick = msgspec.structs.replace(ack, server_time_ms=ack.server_time_ms + later_ms)
        rig.down(Down.ACK, ACK_TYPE, quick)
    rig.tell(Polled(DeviceId(LINK), True, {"sys.cpu_pct": 3.0}, frozenset()))
    rig.pass_s(1)
    assert [one.mono_offset_ms for one in rig.published(Up.BULK, Batch)] == [1_800_000_000_000 - 10_000]
