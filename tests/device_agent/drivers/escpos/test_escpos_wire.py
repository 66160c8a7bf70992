from __future__ import annotations

from itertools import pairwise

from escpos import constants
from hypothesis import given
from hypothesis import strategies as st

from device_agent.drivers.escpos.wire import (
    MAX_BLOCK_BYTES,
    AutoStatus,
    BufferedStatus,
    Counter,
    Identity,
    InfoBlock,
    LineFault,
    RealTime,
    RealTimeStatus,
    Sign,
    StatusEvent,
    StatusReader,
    auto_status,
    counter_request,
    counter_value,
    identity_request,
    paper_request,
    print_job,
    real_time_request,
)
from protocol.catalogue import codes

real_time = st.integers(0, 255).map(lambda value: bytes([(value & 0x6C) | 0x12]))
auto = st.binary(min_size=4, max_size=4).map(
    lambda raw: bytes([(raw[0] & 0x6C) | 0x10, raw[1] & 0x6F, raw[2] & 0x6F, raw[3] & 0x6F])
)
block = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30).map(
    lambda text: b"\x5f" + text.encode() + b"\0"
)
streams = st.lists(st.one_of(real_time, auto, block, st.binary(max_size=12)), max_size=8).map(b"".join)


def read_all(*chunks: bytes) -> list[StatusEvent]:
    reader = StatusReader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


def test_requests_are_those_of_an_independent_library() -> None:
    assert real_time_request(RealTime.PRINTER) == constants.RT_STATUS_ONLINE
    assert real_time_request(RealTime.PAPER) == constants.RT_STATUS_PAPER
    assert print_job(("A",), encoding="ascii").startswith(constants.HW_INIT)


def test_requests_have_the_bytes_of_the_command_reference() -> None:
    assert real_time_request(RealTime.OFFLINE_CAUSE) == bytes.fromhex("100402")
    assert identity_request(Identity.SERIAL) == bytes.fromhex("1d4944")
    assert identity_request(Identity.FIRMWARE) == bytes.fromhex("1d4941")
    assert paper_request() == bytes.fromhex("1d7201")
    assert (auto_status(enabled=True), auto_status(enabled=False)) == (bytes.fromhex("1d610f"), bytes.fromhex("1d6100"))
    assert print_job(("AB",), encoding="ascii", feed_lines=3) == b"\x1b@AB\n\x1bd\x03\x1dVB\x00"


def test_maintenance_counter_is_asked_for_and_answered_in_the_bytes_of_the_command_reference() -> None:
    """GS g 2 of the cumulative count of line feeds: 148, low byte first; the answer is a block of decimal digits."""
    assert counter_request(Counter.LINES_FED) == bytes.fromhex("1d6732009400")
    (block,) = read_all(bytes.fromhex("5f343832313100"))
    assert isinstance(block, InfoBlock)
    assert counter_value(block.text) == 48_211


@given(st.text(max_size=24))
def test_what_is_no_decimal_number_is_no_counter(text: str) -> None:
    value = counter_value(text)
    assert value is None or (text.isascii() and str(value) == (text.lstrip("0") or "0"))


def test_paper_bits_are_those_an_independent_library_tests() -> None:
    no_paper, low = RealTimeStatus(constants.RT_MASK_NOPAPER), RealTimeStatus(constants.RT_MASK_LOWPAPER)
    assert no_paper.signs(RealTime.PAPER) == {Sign.PAPER_END}
    assert low.signs(RealTime.PAPER) == {Sign.NEAR_END}
    assert RealTimeStatus(constants.RT_MASK_PAPER).signs(RealTime.PAPER) == frozenset()
    assert RealTimeStatus(0x12 | constants.RT_MASK_ONLINE).signs(RealTime.PRINTER) == {Sign.OFFLINE}


def test_idle_automatic_status_of_a_common_printer_is_read() -> None:
    # 14 00 00 0F is what an idle TM-T88 with its drawer line high sends.
    assert read_all(bytes.fromhex("1400000f")) == [AutoStatus(bytes.fromhex("1400000f"))]
    assert AutoStatus(bytes.fromhex("1400000f")).signs() == {Sign.DRAWER}
    assert AutoStatus(bytes.fromhex("38000c0f")).signs() == {Sign.OFFLINE, Sign.COVER_OPEN, Sign.PAPER_END}


def test_reply_without_its_fixed_bits_is_a_line_fault() -> None:
    for raw in (0x92, 0xFF, 0x81, 0x9A):
        assert read_all(bytes([raw])) == [LineFault(bytes([raw]))]


def test_flow_control_is_not_status() -> None:
    assert read_all(b"\x13\x11\x12") == [RealTimeStatus(0x12)]


def test_identity_text_and_buffered_status_are_read() -> None:
    assert read_all(b"\x5fTM-1\0", b"\x03") == [InfoBlock("TM-1"), BufferedStatus(3)]


def test_endless_identity_text_is_dropped_at_its_limit() -> None:
    reader = StatusReader()
    events = reader.feed(b"\x5f" + b"A" * (MAX_BLOCK_BYTES + 1))
    assert isinstance(events[0], LineFault)
    assert not reader.in_group


def test_status_that_interrupts_a_group_is_not_lost() -> None:
    assert read_all(b"\x10\x00\x12") == [LineFault(b"\x10\x00"), RealTimeStatus(0x12)]
    assert read_all(b"\x5fTM\x12")[0] == LineFault(b"\x5fTM")
    assert read_all(b"\x5fTM\x12")[1] == RealTimeStatus(0x12)


def test_silence_ends_an_unfinished_group() -> None:
    reader = StatusReader()
    reader.feed(b"\x10\x00")
    assert reader.on_silence() == [LineFault(b"\x10\x00")]
    assert reader.on_silence() == []
    assert reader.feed(b"\x12") == [RealTimeStatus(0x12)]


@given(stream=streams, data=st.data())
def test_events_do_not_depend_on_chunk_boundaries(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]
    assert read_all(*chunks) == read_all(stream)


@given(parts=st.lists(st.one_of(real_time, auto, block), max_size=8))
def test_well_formed_answers_are_read_one_for_one(parts: list[bytes]) -> None:
    events = read_all(*parts)
    assert len(events) == len(parts)
    assert not any(isinstance(event, LineFault) for event in events)


@given(text=st.text(max_size=40))
def test_text_of_a_print_job_is_never_a_command(text: str) -> None:
    body = print_job((text,), encoding="gb18030")[2:-7]
    assert not {0x10, 0x1B, 0x1C, 0x1D} & set(body)


def test_every_sign_is_in_the_catalogue() -> None:
    assert all(codes.get(sign.value) is not None for sign in Sign)
    assert {code.id for code in codes.all() if code.id.startswith("escpos.")} == {sign.value for sign in Sign}
