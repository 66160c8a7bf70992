"""Bytes that must not change: vectors of DSSE's own specification, and one of each message as v1 puts it on the wire.

The DSSE vector is from the specification's test vectors (secure-systems-lab/dsse, protocol.md, "Test Vectors"), that of
Ed25519 from RFC 8032 section 7.1, test 1.
"""

from __future__ import annotations

import msgspec
import pytest

from protocol import codec
from protocol.executions import ExecutionState
from protocol.records import (
    ExecutionReport,
    FaultCleared,
    FaultRaised,
    FirstKey,
    HealthColumns,
    Outcome,
    Record,
    RecordBody,
    SecurityEvent,
    Severity,
    SpoolLost,
    Tombstone,
    Verdict,
)
from protocol.session import Flow, Presence, PresenceStatus, Profile
from protocol.signing import SigningKey, pae
from protocol.streams import Ack, Batch, SeqRange, StreamAck

STREAM = "0f" * 16
EXECUTION = "01890000-0000-7000-8000-000000000001"


def test_pre_authentication_bytes_are_those_of_the_dsse_specification() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_signature_is_that_of_rfc_8032() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = SigningKey.from_seed(seed)
    assert key.public_hex == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.private.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")


BODIES: list[tuple[RecordBody, bytes]] = [
    (
        HealthColumns(start_ms=1, step_ms=60000, steps=2, columns={"sys.cpu_pct": [1.5, None]}),
        b'{"kind":"health_columns","start_ms":1,"step_ms":60000,"steps":2,"columns":{"sys.cpu_pct":[1.5,null]}}',
    ),
    (
        FaultRaised(code="escpos.eot4.paper_end", severity=Severity.MAJOR, first_seen_ms=1, last_seen_ms=2),
        b'{"kind":"fault_raised","code":"escpos.eot4.paper_end","severity":"major","first_seen_ms":1,"last_seen_ms":2}',
    ),
    (
        FaultCleared(code="cme.10", raised_ms=1, cleared_ms=2),
        b'{"kind":"fault_cleared","code":"cme.10","raised_ms":1,"cleared_ms":2}',
    ),
    (
        Verdict(action="net.path", outcome=Outcome.PASS, item="dns", value=12.5, unit="ms"),
        b'{"kind":"verdict","action":"net.path","outcome":"pass","item":"dns","value":12.5,"unit":"ms"}',
    ),
    (
        ExecutionReport(execution=EXECUTION, state=ExecutionState.RUNNING, step="ask", progress_pct=0),
        (
            b'{"kind":"execution_state","execution":"01890000-0000-7000-8000-000000000001","state":"RUNNING","step":"ask",'
            b'"progress_pct":0}'
        ),
    ),
    (
        Tombstone(stream=STREAM, first_seq=1, last_seq=9, rank=0, count=9, reason="quota"),
        (
            b'{"kind":"tombstone","stream":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","first_seq":1,"last_seq":9,"rank":0,'
            b'"count":9,"reason":"quota"}'
        ),
    ),
    (
        SpoolLost(old_stream=STREAM, last_known_seq=9, salvaged=4),
        b'{"kind":"spool_lost","old_stream":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","last_known_seq":9,"salvaged":4}',
    ),
    (SecurityEvent(code="signature"), b'{"kind":"security_event","code":"signature"}'),
]


@pytest.mark.parametrize(("body", "wire"), BODIES, ids=lambda value: type(value).__name__)
def test_body_stays_as_it_is_on_the_wire(body: RecordBody, wire: bytes) -> None:
    assert codec.encode(body).payload == wire
    assert codec.decode(wire, codec.JSON, type(body)) == body


def test_batch_and_acknowledgement_stay_as_they_are_on_the_wire() -> None:
    record = Record(device="dev-0001", boot="ab" * 16, mono_ms=5, wall_ms=6, body=SecurityEvent(code="signature"))
    raw = msgspec.Raw(codec.to_json(record))
    batch = Batch(stream=STREAM, first_seq=7, records=[raw])
    assert codec.encode(batch).payload == (
        b'{"stream":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","first_seq":7,"records":[{"device":"dev-0001",'
        b'"boot":"abababababababababababababababab","mono_ms":5,"wall_ms":6,'
        b'"body":{"kind":"security_event","code":"signature"}}]}'
    )
    told = Batch(stream=STREAM, first_seq=7, records=[msgspec.Raw(b"1")], mono_offset_ms=1_795_867_200_000)
    wire = b'{"stream":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","first_seq":7,"records":[1],"mono_offset_ms":1795867200000}'
    assert codec.encode(told).payload == wire
    ack = Ack(streams=[StreamAck(STREAM, 6, [SeqRange(7, 8)])], db_epoch=STREAM, server_time_ms=1)
    assert codec.encode(ack).payload == (
        b'{"streams":[{"stream":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","upto":6,"missing":[[7,8]]}],'
        b'"db_epoch":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","server_time_ms":1}'
    )


def test_record_saved_from_a_damaged_spool_names_its_first_number() -> None:
    was = FirstKey(STREAM, 12)
    record = Record(device="dev-0001", boot="ab" * 16, mono_ms=5, wall_ms=6, body=SecurityEvent(code="x"), was=was)
    wire = (
        b'{"device":"dev-0001","boot":"abababababababababababababababab","mono_ms":5,"wall_ms":6,'
        b'"body":{"kind":"security_event","code":"x"},"was":["0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",12]}'
    )
    assert codec.encode(record).payload == wire
    assert codec.decode(wire, codec.JSON, Record) == record


FLOW_WIRE = (
    b'{"profile":"metered","keepalive_s":600.0,"sample_s":60.0,"report_s":1800.0,"drain_records_per_s":50,'
    b'"reconnect_base_s":1.0,"reconnect_cap_s":900.0,"live_for_s":20.0,"live_every_s":5.0'
)


@pytest.mark.parametrize(
    ("issued_at_ms", "wire"),
    [(1_795_867_200_000, b',"issued_at_ms":1795867200000,"reconnect_first_s":1250.0}'), (None, b"}")],
    ids=["dated", "undated_as_before"],
)
def test_flow_stays_as_it_is_on_the_wire_and_is_still_read_without_its_date(
    issued_at_ms: int | None, wire: bytes
) -> None:
    first_s = None if issued_at_ms is None else 1250.0
    flow = Flow(Profile.METERED, 600.0, 60.0, 1800.0, 50, 1.0, 900.0, 20.0, 5.0, issued_at_ms, first_s)
    assert codec.decode(FLOW_WIRE + wire, codec.JSON, Flow) == flow
    if issued_at_ms is not None:
        assert codec.encode(flow).payload == FLOW_WIRE + wire


def test_presence_stays_as_it_is_on_the_wire() -> None:
    will = Presence(session=STREAM, status=PresenceStatus.OFFLINE, reason="lost")
    assert codec.encode(will).payload == (
        b'{"session":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","status":"offline","reason":"lost"}'
    )
