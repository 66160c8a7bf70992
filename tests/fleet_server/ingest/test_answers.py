"""What ingest says to a link that is watched, opened as the agent opens it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fleet_server.ingest.answers import LIVE_EVERY_METERED_S, LIVE_EVERY_S, Answers, flow_for
from protocol import codec
from protocol.errors import Malformed
from protocol.session import Flow, Profile
from protocol.signing import FLOW_TYPE, SigningKey, open_envelope, public_keys

LINK = "d-gateway00001"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
KEY = SigningKey.from_seed(bytes(32))


@pytest.mark.parametrize("profile", Profile)
def test_a_live_flow_changes_nothing_of_the_pace_and_is_never_kept_by_the_broker(profile: Profile) -> None:
    said = Answers(KEY, "e" * 32).live_flow(LINK, profile, 1000, 20.0, NOW)
    assert (said.topic, said.qos) == (f"fleet/v1/{LINK}/down/flow", 0)
    plain = codec.inflate(said.payload, said.content_type)
    assert isinstance(plain, bytes)
    envelope = open_envelope(plain, FLOW_TYPE, public_keys([KEY.public_hex]))
    assert not isinstance(envelope, Malformed)
    flow, usual = codec.from_json(envelope.payload, Flow), flow_for(profile, 1000)
    assert isinstance(flow, Flow)
    every_s = LIVE_EVERY_METERED_S if profile is Profile.METERED else LIVE_EVERY_S
    assert (flow.live_for_s, flow.live_every_s) == (20.0, every_s)
    assert (flow.report_s, flow.keepalive_s, flow.sample_s) == (usual.report_s, usual.keepalive_s, usual.sample_s)
    assert flow.reconnect_base_s == usual.reconnect_base_s
    assert flow.issued_at_ms == 1_795_867_200_000
