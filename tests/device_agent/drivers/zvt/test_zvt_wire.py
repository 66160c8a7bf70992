from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.drivers.zvt.apdu import Apdu
from device_agent.drivers.zvt.wire import (
    ACK_BYTES,
    MAX_APDU_BYTES,
    NAK_BYTES,
    Acknowledged,
    ApduTooLong,
    BadFrame,
    Damage,
    Frame,
    NotAcknowledged,
    SerialReader,
    TcpReader,
    WireEvent,
    crc16,
    encode_block,
)

controls = st.sampled_from([0x0501, 0x060F, 0x0670, 0x04FF, 0x06D1, 0x8000, 0x841E])
# DLE, STX, ETX, ACK and NAK inside the data are what breaks careless readers.
payloads = st.one_of(
    st.binary(max_size=60), st.lists(st.sampled_from(b"\x10\x02\x03\x06\x15\x00"), max_size=60).map(bytes)
)
apdus = st.builds(Apdu, controls, payloads).map(Apdu.encode)
streams = st.lists(st.one_of(apdus.map(encode_block), st.just(ACK_BYTES), payloads), max_size=6).map(b"".join)


def read_serial(*chunks: bytes) -> tuple[list[WireEvent], int]:
    reader = SerialReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events, reader.noise_bytes


def chunked(data: st.DataObject, stream: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    return [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]


def test_crc_has_the_published_check_value(zvt_vectors: Any) -> None:
    check = zvt_vectors["crc_check"]
    assert crc16(check["text"].encode()) == int(check["crc"], 16)


def test_blocks_are_those_of_other_implementations(zvt_vectors: Any) -> None:
    for vector in zvt_vectors["blocks"]:
        apdu, block = bytes.fromhex(vector["apdu"]), bytes.fromhex(vector["block"])
        assert encode_block(apdu) == block, vector["name"]
        assert read_serial(block) == ([Frame(apdu)], 0), vector["name"]


@given(apdu=apdus)
def test_encoded_block_reads_back_unchanged(apdu: bytes) -> None:
    assert read_serial(encode_block(apdu)) == ([Frame(apdu)], 0)


@given(stream=streams, data=st.data())
def test_events_do_not_depend_on_chunk_boundaries(stream: bytes, data: st.DataObject) -> None:
    assert read_serial(*chunked(data, stream)) == read_serial(stream)


@given(noise=st.binary(max_size=20).filter(lambda noise: b"\x10" not in noise), apdu=apdus)
def test_block_after_noise_is_recovered(noise: bytes, apdu: bytes) -> None:
    events, _ = read_serial(noise + encode_block(apdu))
    assert events[-1] == Frame(apdu)


@settings(max_examples=200)
@given(first=apdus, second=apdus, data=st.data())
def test_block_cut_short_does_not_swallow_the_next(first: bytes, second: bytes, data: st.DataObject) -> None:
    block = encode_block(first)
    cut = data.draw(st.integers(1, len(block) - 1))
    events, _ = read_serial(block[:cut] + encode_block(second))
    assert Frame(second) in events


def test_block_cut_behind_a_literal_dle_does_not_swallow_the_next() -> None:
    cut = encode_block(Apdu(0x0601, b"\x10\x05").encode())[:6]
    assert cut.endswith(b"\x10")
    events, _ = read_serial(cut + encode_block(bytes.fromhex("800000")))
    assert events[-1] == Frame(bytes.fromhex("800000"))


def test_acknowledgement_inside_a_damaged_block_is_not_taken() -> None:
    block = bytearray(encode_block(Apdu(0x06D1, ACK_BYTES + NAK_BYTES + ACK_BYTES).encode()))
    block[-1] ^= 0xFF
    events, noise = read_serial(bytes(block))
    assert events == [BadFrame(Damage.CRC)]
    assert noise == len(block)


def test_acknowledgements_between_blocks_are_read() -> None:
    events, _ = read_serial(ACK_BYTES + NAK_BYTES + b"\x10" + ACK_BYTES)
    assert events == [Acknowledged(), NotAcknowledged(), Acknowledged()]


def test_block_whose_length_field_lies_is_damaged() -> None:
    events, _ = read_serial(encode_block(bytes.fromhex("06d105")))
    assert events == [BadFrame(Damage.LENGTH)]


def test_silence_ends_an_unfinished_block() -> None:
    reader = SerialReader()
    reader.feed(encode_block(bytes.fromhex("067000"))[:-1])
    assert reader.in_frame
    assert reader.on_silence() == [BadFrame(Damage.SILENCE)]
    assert not reader.in_frame
    assert reader.feed(encode_block(bytes.fromhex("067000"))) == [Frame(bytes.fromhex("067000"))]


def test_block_that_never_ends_is_dropped_at_its_limit() -> None:
    events, _ = read_serial(b"\x10\x02" + b"\x55" * (MAX_APDU_BYTES + 1))
    assert events == [BadFrame(Damage.OVERSIZE)]


def test_work_on_a_hostile_stream_does_not_grow_with_its_square() -> None:
    # Each start hides behind a doubled DLE and is found only by looking through the damaged block again.
    hostile = (b"\x10\x02" + b"\x10\x10\x02" * 1300 + b"\x10\x03\x00\x00") * 4
    reader = SerialReader()
    steps = 0
    original = reader._step

    def counted(byte: int, *, is_replay: bool) -> WireEvent | None:
        nonlocal steps
        steps += 1
        return original(byte, is_replay=is_replay)

    reader._step = counted  # type: ignore[method-assign] # counts the work without timing it
    reader.feed(hostile)
    assert steps < 20 * len(hostile)


def test_apdu_over_the_limit_is_the_callers_error() -> None:
    with pytest.raises(ApduTooLong, match="limit 4096"):
        encode_block(bytes(MAX_APDU_BYTES + 1))


@given(stream=st.lists(apdus, max_size=5), data=st.data())
def test_tcp_stream_reads_back_whatever_the_packets(stream: list[bytes], data: st.DataObject) -> None:
    reader = TcpReader()
    events = [event for chunk in chunked(data, b"".join(stream)) for event in reader.feed(chunk)]
    assert events == [Frame(apdu) for apdu in stream]


def test_tcp_reader_skips_bytes_that_begin_no_apdu() -> None:
    reader = TcpReader()
    assert reader.feed(b"\xaa\x55" + bytes.fromhex("800000")) == [Frame(bytes.fromhex("800000"))]
    assert reader.noise_bytes == 2


def test_tcp_reader_does_not_wait_for_an_impossible_length() -> None:
    reader = TcpReader()
    assert reader.feed(bytes.fromhex("04ffffffff")) == [BadFrame(Damage.OVERSIZE)]
    reader.feed(bytes.fromhex("06d1ff"))
    assert reader.on_silence() == [BadFrame(Damage.SILENCE)]
    assert reader.feed(bytes.fromhex("800000")) == [Frame(bytes.fromhex("800000"))]
