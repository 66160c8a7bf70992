from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec
from protocol.commands import Command
from protocol.errors import Malformed, MessageTooLarge
from protocol.records import Record
from protocol.session import Hello, Presence, PresenceStatus
from protocol.signing import Envelope
from protocol.streams import Batch

KINDS: list[type] = [Batch, Record, Hello, Presence, Envelope, Command]
leaves = st.none() | st.booleans() | st.floats() | st.text(max_size=8)
documents = st.recursive(leaves, lambda c: st.lists(c) | st.dictionaries(st.text(max_size=8), c), max_leaves=12)
content_types = st.sampled_from([None, codec.JSON, codec.JSON_DEFLATE, "text/html", ""])


@given(payload=st.binary(max_size=200), content_type=content_types, kind=st.sampled_from(KINDS))
def test_arbitrary_bytes_never_raise(payload: bytes, content_type: str | None, kind: type) -> None:
    assert isinstance(codec.decode(payload, content_type, kind), kind | Malformed)


@given(payload=documents, kind=st.sampled_from(KINDS))
def test_arbitrary_json_never_raises(payload: object, kind: type) -> None:
    assert isinstance(codec.decode(codec.to_json(payload), codec.JSON, kind), kind | Malformed)


@given(session=st.from_regex(r"[0-9a-f]{32}", fullmatch=True), reason=st.text(max_size=80), deflate=st.booleans())
def test_message_reads_back_unchanged(session: str, reason: str, deflate: bool) -> None:
    message = Presence(session, PresenceStatus.ONLINE, reason)
    encoded = codec.encode(message, deflate=deflate)
    assert codec.decode(encoded.payload, encoded.content_type, Presence) == message


def test_deflate_is_used_only_where_it_pays() -> None:
    assert codec.encode("x" * 20, deflate=True).content_type == codec.JSON
    assert codec.encode("x" * 2000, deflate=True).content_type == codec.JSON_DEFLATE


def test_small_payload_cannot_become_a_large_one() -> None:
    bomb = zlib.compress(b" " * (codec.MAX_INFLATED_BYTES + 1), 9)
    assert len(bomb) < 2000
    answer = codec.decode(bomb, codec.JSON_DEFLATE, Presence)
    assert isinstance(answer, Malformed)
    assert answer.code == "too_large"


def test_payload_of_exactly_the_limit_is_inflated() -> None:
    text = '"' + "x" * (codec.MAX_INFLATED_BYTES - 2) + '"'
    assert codec.decode(zlib.compress(text.encode()), codec.JSON_DEFLATE, str) == text[1:-1]


@pytest.mark.parametrize("cut", [1, 4, 10])
def test_deflated_payload_cut_short_is_refused(cut: int) -> None:
    whole = zlib.compress(b'"' + bytes(range(97, 123)) * 20 + b'"')
    assert isinstance(codec.decode(whole[:-cut], codec.JSON_DEFLATE, str), Malformed)


def test_bytes_behind_a_deflated_payload_are_refused() -> None:
    whole = zlib.compress(b'"abc"') + b"x"
    assert isinstance(codec.decode(whole, codec.JSON_DEFLATE, str), Malformed)


def test_payload_over_the_limit_is_refused_with_both_sizes() -> None:
    answer = codec.decode(b" " * (codec.MAX_PAYLOAD_BYTES + 1), codec.JSON, str)
    assert answer == Malformed("too_large", "payload is 65537 bytes, limit 65536")


def test_our_own_message_over_the_limit_is_our_error() -> None:
    with pytest.raises(MessageTooLarge, match="limit 65536"):
        codec.encode("é" * 40_000)


def test_deep_nesting_is_refused_not_crashed_on() -> None:
    assert isinstance(codec.decode(b"[" * 60_000, codec.JSON, Batch), Malformed)


def test_detail_of_a_refusal_is_bounded() -> None:
    answer = codec.decode(codec.to_json({"x" * 5000: 1}), codec.JSON, Presence)
    assert isinstance(answer, Malformed)
    assert len(answer.detail) <= 200
