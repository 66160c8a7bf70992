"""The terminal service's lines: whatever comes in, whole messages come out, and damage ends with its line."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.drivers.terminal import wire

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
ARGS = st.dictionaries(NAMES, VALUES, max_size=4)


def test_request_has_the_published_bytes() -> None:
    line = wire.encode_request(7, "clock_set", {"wall_ms": 1_795_000_000_000})
    assert line == b'{"id":7,"call":"clock_set","args":{"wall_ms":1795000000000}}\n'


def test_answers_have_the_published_bytes() -> None:
    assert wire.encode_answer(7, {"pending": 2}) == b'{"id":7,"ok":true,"value":{"pending":2}}\n'
    refusal = wire.encode_refusal(7, "unknown_call", "no such call")
    assert refusal == b'{"id":7,"ok":false,"code":"unknown_call","detail":"no such call"}\n'


@given(st.integers(0, wire.MAX_ID), NAMES, ARGS)
def test_a_request_comes_back_as_it_was_sent(number: int, call: str, args: dict[str, object]) -> None:
    assert wire.request_reader().feed(wire.encode_request(number, call, args)) == [wire.Request(number, call, args)]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 99), NAMES, ARGS), max_size=5), st.data())
def test_events_do_not_depend_on_where_the_stream_is_cut(
    requests: list[tuple[int, str, dict[str, object]]], data: st.DataObject
) -> None:
    stream = b"".join(wire.encode_request(*each) for each in requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader = wire.request_reader()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    events = [event for piece in pieces for event in reader.feed(piece)]
    assert events == [wire.Request(*each) for each in requests]


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_no_bytes_raise_and_a_good_line_after_them_is_read(noise: bytes, cuts: list[int]) -> None:
    reader = wire.reply_reader()
    start = 0
    for cut in sorted(cuts):
        reader.feed(noise[start:cut])
        start = max(start, cut)
    reader.feed(noise[start:])
    events = reader.feed(b"\n" + wire.encode_answer(3, True))
    assert isinstance(events[-1], wire.Reply)
    assert events[-1].id == 3


def test_a_line_above_the_limit_is_dropped_to_its_end_and_holds_no_memory() -> None:
    reader = wire.reply_reader()
    chunk = b"x" * 10_000
    for _ in range(40):
        assert reader.feed(chunk) == []
    assert len(reader._held) == 0
    events = reader.feed(b"\n" + wire.encode_answer(1, 2))
    assert isinstance(events[0], wire.LineNoise)
    assert events[0].size_bytes == 400_000
    assert isinstance(events[1], wire.Reply)


def test_a_line_of_exactly_the_limit_is_read() -> None:
    frame = len(wire.encode_request(1, "x", {"text": ""})) - 1
    line = wire.encode_request(1, "x", {"text": "a" * (wire.MAX_LINE_BYTES - frame)})
    assert len(line) == wire.MAX_LINE_BYTES + 1
    assert isinstance(wire.request_reader().feed(line)[0], wire.Request)


def test_our_own_message_above_the_limit_is_our_misuse() -> None:
    with pytest.raises(wire.LineTooLong):
        wire.encode_answer(1, "a" * wire.MAX_LINE_BYTES)


def test_noise_never_repeats_the_peers_bytes() -> None:
    (event,) = wire.reply_reader().feed(b'{"id":"4111111111111111"}\n')
    assert isinstance(event, wire.LineNoise)
    assert "4111" not in event.reason


def test_deeply_nested_lines_are_noise() -> None:
    (event,) = wire.reply_reader().feed(b'{"id":1,"ok":true,"value":' + b"[" * 30_000 + b"\n")
    assert isinstance(event, wire.LineNoise)


def test_ten_thousand_damaged_streams_stop_nothing() -> None:
    dice = random.Random(11)
    good = wire.encode_answer(5, {"alive": True, "since_ms": 1, "version": "1"})
    noise = 0
    for _ in range(10_000):
        damaged = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        reader = wire.reply_reader()
        noise += sum(isinstance(event, wire.LineNoise) for event in reader.feed(bytes(damaged) + b"\n"))
        assert isinstance(reader.feed(good)[-1], wire.Reply)
    assert noise > 5_000
