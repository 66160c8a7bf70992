"""What ingest says to links: acknowledgements, welcomes, live flows, each a DSSE envelope signed with the server key;
and to the server's own processes which events are new.

The pace of each profile is here too. The server key signs nothing that makes a terminal act.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from fleet_server.ingest.flush import Greeting
from fleet_server.ingest.pacing import DueAck
from fleet_server.kit.times import to_ms
from protocol import codec
from protocol.identifiers import LinkId
from protocol.session import Flow, Profile, Welcome
from protocol.signing import ACK_TYPE, FLOW_TYPE, WELCOME_TYPE, SigningKey, sign
from protocol.streams import MAX_ACK_STREAMS, Ack, StreamAck
from protocol.topics import EVENTS, Down, down
from protocol.version import SERVER_SPEAKS

# New connections a second, TLS handshakes included, that a broker takes with clients on the same two cores (measured).
ACCEPTS_PER_S = 160
RECONNECT_CAP_S = 300.0
# A metered link pays for each try.
RECONNECT_CAP_METERED_S = 900.0
# What a link may send on that sends too much: enough for a gateway with hundreds of devices to keep up.
SLOW_RECORDS_PER_S = 20
LIVE_EVERY_S = 2.0
# A terminal with all its readings says about 1.1 kB each time, headers and acknowledgement counted.
LIVE_EVERY_METERED_S = 5.0
_HINT_IDS = 500

_FLOWS = {
    Profile.METERED: Flow(Profile.METERED, 600.0, 60.0, 1800.0, 50, 1.0, RECONNECT_CAP_METERED_S),
    Profile.UNMETERED: Flow(Profile.UNMETERED, 60.0, 10.0, 60.0, 500, 1.0, RECONNECT_CAP_S),
    # A person waits before the screen: little to lose, much to show. The cap keeps a stopped broker from hiding long.
    Profile.DEMO: Flow(Profile.DEMO, 10.0, 1.0, 5.0, 5000, 0.5, 15.0),
}


@dataclass(frozen=True, slots=True)
class Publication:
    """``is_timed``: it carries the server's time, so where it would wait until the broker has answered others of QoS 1
    it goes as QoS 0. Its receiver asks again for what it misses.
    """

    topic: str
    payload: bytes
    content_type: str
    qos: int
    is_timed: bool = False


class Answers:
    """``db_epoch``: changes when the database went back, so that agents send again what it may have forgotten."""

    def __init__(self, key: SigningKey, db_epoch: str) -> None:
        self._key = key
        self.db_epoch = db_epoch

    def acknowledgement(self, due: DueAck, now: datetime) -> Publication:
        ack = self._ack([one.ack for one in due.acks], now)
        return self._signed(due.link_id, Down.ACK, ACK_TYPE, ack, qos=1 if due.is_urgent else 0)

    def unasked(self, link_id: str, acks: Sequence[StreamAck], now: datetime) -> Publication:
        """QoS 0: a link that is away will hear it in its welcome."""
        return self._signed(link_id, Down.ACK, ACK_TYPE, self._ack(acks, now), qos=0)

    def welcome(self, greeting: Greeting, fleet_size: int, now: datetime) -> Publication:
        welcome = Welcome(
            nonce=greeting.hello.nonce,
            want_capabilities=greeting.wants_capabilities,
            ack=self._ack(greeting.streams[:MAX_ACK_STREAMS], now),
            flow=_dated(flow_for(greeting.hello.profile, fleet_size), now),
            versions=list(SERVER_SPEAKS),
        )
        return self._signed(greeting.link.id, Down.WELCOME, WELCOME_TYPE, welcome, qos=1)

    def live_flow(self, link_id: str, profile: Profile, fleet_size: int, for_s: float, now: datetime) -> Publication:
        """The link's usual pace, and live mode. QoS 0: the broker must not keep it for a link that is away."""
        every_s = LIVE_EVERY_METERED_S if profile is Profile.METERED else LIVE_EVERY_S
        usual = flow_for(profile, fleet_size)
        flow = msgspec.structs.replace(usual, live_for_s=for_s, live_every_s=every_s)
        return self._signed(link_id, Down.FLOW, FLOW_TYPE, _dated(flow, now), qos=0)

    def pace(self, link_id: str, profile: Profile, fleet_size: int, now: datetime, *, is_slowed: bool) -> Publication:
        """The link's usual pace, or one that is kind to others. QoS 0, as above: its next welcome says it anyway."""
        flow = flow_for(profile, fleet_size)
        if is_slowed:
            flow = msgspec.structs.replace(flow, drain_records_per_s=min(flow.drain_records_per_s, SLOW_RECORDS_PER_S))
        return self._signed(link_id, Down.FLOW, FLOW_TYPE, _dated(flow, now), qos=0)

    def _ack(self, streams: Sequence[StreamAck], now: datetime) -> Ack:
        return Ack(list(streams), self.db_epoch, to_ms(now))

    def _signed(self, link_id: str, kind: Down, payload_type: str, message: object, *, qos: int) -> Publication:
        envelope = sign(payload_type, codec.to_json(message), [self._key])
        encoded = codec.encode(envelope, deflate=True)
        is_timed = kind in {Down.WELCOME, Down.ACK}
        return Publication(down(LinkId(link_id), kind), encoded.payload, encoded.content_type, qos, is_timed)


def hints(event_ids: Sequence[int]) -> list[Publication]:
    """For open pages: what they miss they read from the database."""
    return [
        Publication(EVENTS, msgspec.json.encode(event_ids[first : first + _HINT_IDS]), codec.JSON, 0)
        for first in range(0, len(event_ids), _HINT_IDS)
    ]


def _dated(flow: Flow, now: datetime) -> Flow:
    """An agent takes no older one after it: a broker cannot play one again."""
    return msgspec.structs.replace(flow, issued_at_ms=to_ms(now))


def flow_for(profile: Profile, fleet_size: int) -> Flow:
    """The whole fleet spread over what the broker can take after an outage: the base is the time that it needs for all,
    first tries come within twice the base, later ones within at most three times. With a lower cap, agents that have
    failed often would all come within it; a far higher one would keep a small fleet away for longer than it needs.
    """
    flow = _FLOWS[profile]
    base_s = round(max(flow.reconnect_base_s, fleet_size / ACCEPTS_PER_S), 1)
    return msgspec.structs.replace(
        flow,
        reconnect_base_s=base_s,
        reconnect_first_s=round(2 * base_s, 1),
        reconnect_cap_s=max(flow.reconnect_cap_s, round(3 * base_s, 1)),
    )
