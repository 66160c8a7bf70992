"""What is made of a payload. The golden bytes are written by hand from the protocol page, not by our encoder."""

from __future__ import annotations

import json
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.ingest.decode import (
    BatchMessage,
    CapabilitiesMessage,
    DeadMessage,
    Decoded,
    Entry,
    HelloMessage,
    PresenceMessage,
    decode,
    size_of,
    unprocessable,
)
from fleet_server.ingest.worker import MAX_FLUSH_BYTES
from fleet_server.mqtt import Received
from protocol.errors import Malformed
from protocol.records import FaultRaised, HealthColumns, Record, Severity, Verdict
from protocol.session import PresenceStatus
from protocol.streams import StreamKind

LINK = "d-terminal0000001"
HEX = "0123456789abcdef" * 2
HELLO = (
    b'{"nonce":"0123456789abcdef0123456789abcdef","session":"0123456789abcdef0123456789abcdef",'
    b'"boot":"0123456789abcdef0123456789abcdef","agent_version":"0.1.0","versions":[1],'
    b'"capability_digest":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",'
    b'"devices":[{"device":"d-printer00000001","line":"prn0","alive":true}],"unregistered":["mdm0"],'
    b'"streams":[{"stream":"0123456789abcdef0123456789abcdef","kind":"urgent","last":9,"oldest_held":3,"acked":2}],'
    b'"profile":"metered","keepalive_s":600,"report_s":1800,"wall_ms":1764300000000,"trusted_ms":1764300000000,'
    b'"mono_ms":12345}'
)
FAULT = (
    b'{"device":"d-terminal0000001","boot":"0123456789abcdef0123456789abcdef","mono_ms":5,"wall_ms":1764300000000,'
    b'"body":{"kind":"fault_raised","code":"escpos.PAPER_OUT","severity":"major","first_seen_ms":1764299999000,'
    b'"last_seen_ms":1764300000000,"evidence":"paper end"}}'
)
HEALTH = (
    b'{"device":"d-terminal0000001","boot":"0123456789abcdef0123456789abcdef","mono_ms":5,"wall_ms":1764300000000,'
    b'"body":{"kind":"health_columns","start_ms":1764299990000,"step_ms":5000,"steps":3,'
    b'"columns":{"batt.level_pct":[81,null,80.5]}}}'
)


def message(kind: str, payload: bytes, content_type: str | None = "application/json") -> Received:
    return Received(f"fleet/v1/{LINK}/up/{kind}", payload, content_type, 1, 1)


def batch(*records: bytes, first: int = 1) -> bytes:
    return b'{"stream":"%s","first_seq":%d,"records":[%s]}' % (HEX.encode(), first, b",".join(records))


def entries(kind: str, *records: bytes) -> tuple[Entry, ...]:
    decoded = decode(message(kind, batch(*records)))
    assert isinstance(decoded, BatchMessage)
    return decoded.entries


def test_golden_hello_is_read() -> None:
    decoded = decode(message("hello", HELLO))
    assert isinstance(decoded, HelloMessage)
    assert (decoded.link, decoded.hello.keepalive_s, decoded.hello.streams[0].oldest_held) == (LINK, 600.0, 3)


def test_golden_deflated_batch_is_read() -> None:
    decoded = decode(message("urgent", zlib.compress(batch(FAULT, first=7)), "application/json+deflate"))
    assert isinstance(decoded, BatchMessage)
    assert (decoded.kind, decoded.stream, decoded.entries[0].seq) == (StreamKind.URGENT, HEX, 7)
    record = decoded.entries[0].record
    assert isinstance(record, Record)
    assert record.body == FaultRaised("escpos.PAPER_OUT", Severity.MAJOR, 1764299999000, 1764300000000, 1, "paper end")


def test_golden_columns_are_read_and_not_measured_stays_not_measured() -> None:
    record = entries("bulk", HEALTH)[0].record
    assert isinstance(record, Record)
    assert isinstance(record.body, HealthColumns)
    assert record.body.columns == {"batt.level_pct": [81, None, 80.5]}


def test_golden_presence_is_read() -> None:
    decoded = decode(message("presence", b'{"session":"%s","status":"offline"}' % HEX.encode()))
    assert isinstance(decoded, PresenceMessage)
    assert decoded.presence.status is PresenceStatus.OFFLINE


def test_capabilities_are_read() -> None:
    plain = b'{"devices":[{"device":"d-terminal0000001","family":"host","terminal_class":"smart","actions":[]}]}'
    assert isinstance(decode(message("capabilities", plain)), CapabilitiesMessage)


def test_identity_comes_from_the_topic_and_no_other_topic_is_taken() -> None:
    for topic in (
        "fleet/v1/svc-api-1/up/hello",
        "fleet/v1/x/up/hello",
        "svc/v1/events",
        "",
        f"fleet/v1/{LINK}/up/live",
    ):
        decoded = decode(Received(topic, HELLO, None, 1, 1))
        assert isinstance(decoded, DeadMessage)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b'{"device":"d-terminal0000001"}', "not_decodable"),
        (FAULT.replace(b"fault_raised", b"fault_forgotten"), "not_decodable"),
        (FAULT.replace(b'"evidence"', b'"excuse"'), "not_decodable"),
        (FAULT.replace(b'"mono_ms":5', b'"mono_ms":-5'), "not_decodable"),
        (HEALTH, "wrong_stream"),
    ],
)
def test_one_bad_record_does_not_take_the_rest_of_its_batch(record: bytes, reason: str) -> None:
    first, bad, last = entries("urgent", FAULT, record, FAULT)
    assert isinstance(bad.record, Malformed)
    assert bad.record.code == reason
    assert isinstance(first.record, Record)
    assert isinstance(last.record, Record)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (HEALTH.replace(b'"steps":3', b'"steps":4'), "columns"),
        (HEALTH.replace(b"80.5", b"9" * 40), "number"),
        (FAULT, "wrong_stream"),
    ],
)
def test_columns_that_do_not_fit_are_refused(wrong: bytes, reason: str) -> None:
    (entry,) = entries("bulk", wrong)
    assert isinstance(entry.record, Malformed)
    assert entry.record.code == reason


def test_nul_which_one_database_cannot_store_is_replaced_in_records_and_refused_elsewhere() -> None:
    (entry,) = entries("urgent", FAULT.replace(b"paper end", rb"paper\u0000end \\u0000"))
    assert isinstance(entry.record, Record)
    assert isinstance(entry.record.body, FaultRaised)
    assert entry.record.body.evidence == "paper\ufffdend \\u0000"
    decoded = decode(message("hello", HELLO.replace(b'"0.1.0"', rb'"0.1\u0000"')))
    assert isinstance(decoded, DeadMessage)
    assert decoded.why.code == "nul"


def test_card_data_is_taken_out_once_more_and_counted() -> None:
    (entry,) = entries("urgent", FAULT.replace(b"paper end", b"card 4111111111111111 declined"))
    assert entry.hits == 1
    assert isinstance(entry.record, Record)
    assert "4111111111111111" not in json.dumps(entry.record.body.evidence)  # type: ignore[union-attr]  # a fault


def test_card_data_in_a_text_column_and_in_a_value_is_taken_out() -> None:
    column = HEALTH.replace(b"[81,null,80.5]", b'["4111111111111111",null,"ok"]')
    (entry,) = entries("bulk", column)
    assert entry.hits == 1
    assert isinstance(entry.record, Record)
    assert "4111111111111111" not in str(entry.record.body)
    verdict = FAULT[: FAULT.index(b'"body"')] + (
        b'"body":{"kind":"verdict","action":"app.log_tail","outcome":"pass","value":"4111111111111111"}}'
    )
    (entry,) = entries("urgent", verdict)
    assert isinstance(entry.record, Record)
    assert isinstance(entry.record.body, Verdict)
    assert "4111111111111111" not in str(entry.record.body.value)


@pytest.mark.parametrize(
    "columns",
    [
        b'{"sys.state":["4111111111111111"]}',
        b'{"a":["4111111111111111"],"a":[1]}',
        b'{"a":[1],"a":["4111111111111111"]}',
        b'{ "a" : [ 1 ] , "b" : [ "4111111111111111" ] }',
        b'{"a":[1],"b":["41111111111\\u00311111"]}',
    ],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_a_text_among_numbers_is_seen_however_it_is_written(columns: bytes, is_last: bool) -> None:
    head = HEALTH[: HEALTH.index(b'"columns"')].replace(b'"steps":3', b'"steps":1')
    inner = head[head.index(b'"kind"') :].rstrip(b",")
    outer = head[: head.index(b'"body"')]
    written = b'"columns":' + columns
    body = b",".join((inner, written) if is_last else (written, inner))
    (entry,) = entries("bulk", outer + b'"body":{' + body + b"}}")
    assert isinstance(entry.record, Record)
    assert entry.numbers is None
    assert "4111111111111111" not in str(entry.record.body)


def test_numbers_alone_take_the_short_way() -> None:
    (entry,) = entries("bulk", HEALTH)
    assert entry.numbers is not None
    assert entry.numbers.tolist()[::2] == [81.0, 80.5]


def test_a_number_among_samples_that_may_be_a_cards_is_not_measured() -> None:
    (entry,) = entries("bulk", HEALTH.replace(b"[81,null,80.5]", b"[4111111111111111,1764300000000,80.5]"))
    assert isinstance(entry.record, Record)
    assert isinstance(entry.record.body, HealthColumns)
    assert entry.record.body.columns == {"batt.level_pct": [None, 1764300000000, 80.5]}
    assert entry.hits == 1
    head = FAULT[: FAULT.index(b'"body"')]
    (entry,) = entries(
        "urgent", head + b'"body":{"kind":"verdict","action":"a.b","outcome":"pass","value":4111111111111111}}'
    )
    assert isinstance(entry.record, Record)
    assert isinstance(entry.record.body, Verdict)
    assert (entry.record.body.value, entry.hits) == (None, 1)


def test_card_data_in_a_version_and_in_a_declaration_is_taken_out() -> None:
    decoded = decode(message("hello", HELLO.replace(b'"0.1.0"', b'"card 4111111111111111"')))
    assert isinstance(decoded, HelloMessage)
    assert decoded.hello.agent_version == "card [PAN …1111]"
    device = (
        b'{"device":"d-1234567","family":"zvt","terminal_class":"smart","actions":[%s],"firmware":"v4111111111111111"}'
    )
    decoded = decode(message("capabilities", b'{"devices":[%s]}' % (device % b"")))
    assert isinstance(decoded, CapabilitiesMessage)
    assert decoded.capabilities.devices[0].firmware == "v[PAN …1111]"
    action = (
        b'{"name":"a.b","kind":"check","title":{"zh":"4111 1111 1111 1111","en":"x"},"danger_class":0,'
        b'"expected_s":1,"timeout_s":1}'
    )
    decoded = decode(message("capabilities", b'{"devices":[%s]}' % (device % action)))
    assert isinstance(decoded, DeadMessage)
    assert decoded.why.code == "card_data"


def test_card_data_in_the_reason_of_an_ending_is_taken_out() -> None:
    plain = b'{"session":"%s","status":"offline","reason":"after 4111111111111111"}' % HEX.encode()
    decoded = decode(message("presence", plain))
    assert isinstance(decoded, PresenceMessage)
    assert "4111111111111111" not in decoded.presence.reason


def test_a_batch_beyond_the_last_number_is_refused() -> None:
    decoded = decode(message("urgent", batch(FAULT, FAULT, first=2**53)))
    assert isinstance(decoded, DeadMessage)
    assert decoded.why.code == "sequence"


def test_an_unprocessable_batch_keeps_its_numbers() -> None:
    decoded = unprocessable(decode(message("urgent", batch(FAULT, FAULT, first=5))))
    assert isinstance(decoded, BatchMessage)
    assert [entry.seq for entry in decoded.entries] == [5, 6]
    assert all(isinstance(entry.record, Malformed) for entry in decoded.entries)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["hello", "capabilities", "urgent", "bulk", "presence", "live", "?"]),
    st.binary(max_size=200),
    st.sampled_from([None, "application/json", "application/json+deflate", "text/plain"]),
)
def test_no_bytes_raise(kind: str, payload: bytes, content_type: str | None) -> None:
    assert isinstance(decode(message(kind, payload, content_type)), Decoded)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["hello", "urgent", "bulk"]))
def test_no_mutation_of_a_good_payload_raises(seed: int, kind: str) -> None:
    dice = random.Random(seed)
    payload = bytearray({"hello": HELLO, "urgent": batch(FAULT), "bulk": batch(HEALTH)}[kind])
    for _ in range(dice.randint(1, 8)):
        payload[dice.randrange(len(payload))] = dice.randrange(256)
    assert isinstance(decode(message(kind, bytes(payload))), Decoded)


def test_a_gateway_counts_for_what_it_sets_off() -> None:
    """Of its few kilobytes come rows, entries and statements for each device behind it."""
    printer = b'{"device":"d-printer00000001","line":"prn0","alive":true}'
    one, many = (size_of(decode(message("hello", HELLO.replace(printer, b",".join([printer] * n))))) for n in (1, 200))
    assert many - one == 199 * 1024
    assert MAX_FLUSH_BYTES // many < 10, "some thousand devices a transaction"
    bare = b'{"device":"d-printer00000001","family":"escpos","terminal_class":"smart","actions":[]}'
    declared = [b'{"devices":[%s]}' % b",".join([bare] * n) for n in (1, 200)]
    few, all_of_them = (decode(message("capabilities", one)) for one in declared)
    assert isinstance(few, CapabilitiesMessage)
    assert size_of(all_of_them) - size_of(few) == 199 * 4096
