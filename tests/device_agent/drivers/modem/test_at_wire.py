from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.drivers.modem.wire import (
    MAX_LINE_BYTES,
    MAX_REPLY_LINES,
    AtDialogue,
    AtEvent,
    CommandNotSendable,
    Final,
    Reply,
    Unasked,
)

lines = st.sampled_from(
    [b"OK", b"ERROR", b"+CME ERROR: 10", b"+CSQ: 18,99", b"+CEREG: 1", b"RING", b"AT+CSQ", b"", b"+CME ERROR: SIM busy"]
)
streams = st.lists(st.one_of(lines.map(lambda line: b"\r\n" + line + b"\r\n"), st.binary(max_size=12)), max_size=8).map(
    b"".join
)


def read_all(command: str, *chunks: bytes) -> list[AtEvent]:
    dialogue = AtDialogue()
    dialogue.start(command)
    return [event for chunk in chunks for event in dialogue.feed(chunk)]


def test_command_is_sent_with_a_carriage_return() -> None:
    assert AtDialogue().start("AT+CSQ") == b"AT+CSQ\r"


def test_reply_of_the_standards_example_is_read() -> None:
    # 27.007 8.5: +CSQ: <rssi>,<ber> before OK, with V.250's line ends around each.
    (reply,) = read_all("AT+CSQ", b"\r\n+CSQ: 18,99\r\n\r\nOK\r\n")
    assert reply == Reply("AT+CSQ", Final.OK, ("+CSQ: 18,99",))


def test_echo_is_told_from_the_answer() -> None:
    (reply,) = read_all("AT+CGSN", b"AT+CGSN\r\r\n490154203237518\r\n\r\nOK\r\n")
    assert isinstance(reply, Reply)
    assert reply.lines == ("490154203237518",)
    assert reply.was_echoed


@pytest.mark.parametrize(
    ("line", "number"),
    [("+CME ERROR: 10", 10), ("ERROR", None), ("+CME ERROR: SIM not inserted", None), ("+CMS ERROR: 302", None)],
)
def test_numbered_worded_and_bare_errors_end_the_command(line: str, number: int | None) -> None:
    (reply,) = read_all("AT+CPIN?", f"\r\n{line}\r\n".encode())
    assert isinstance(reply, Reply)
    assert (reply.final, reply.cme) == (Final.ERROR, number)


def test_unasked_results_are_told_from_the_answer() -> None:
    events = read_all("AT+CSQ", b'\r\n+CEREG: 1,"10A4","0A2B",7\r\n\r\nRING\r\n\r\n+CSQ: 7,99\r\n\r\nOK\r\n')
    assert events == [
        Unasked('+CEREG: 1,"10A4","0A2B",7'),
        Unasked("RING"),
        Reply("AT+CSQ", Final.OK, ("+CSQ: 7,99",)),
    ]


def test_registration_asked_for_is_an_answer() -> None:
    (reply,) = read_all("AT+CEREG?", b"\r\n+CEREG: 2,1\r\n\r\nOK\r\n")
    assert isinstance(reply, Reply)
    assert reply.lines == ("+CEREG: 2,1",)


def test_late_reply_to_an_abandoned_command_is_not_the_next_ones() -> None:
    dialogue = AtDialogue()
    dialogue.start("AT+COPS=?")
    dialogue.feed(b"\r\n+COP")
    dialogue.abandon()
    late = dialogue.feed(b"\r\nOK\r\n")
    assert late == [Unasked("OK")]
    dialogue.start("AT+CSQ")
    (reply,) = dialogue.feed(b"\r\n+CSQ: 5,99\r\n\r\nOK\r\n")
    assert isinstance(reply, Reply)
    assert reply.lines == ("+CSQ: 5,99",)


def test_line_over_the_limit_is_dropped_whole_and_counted() -> None:
    dialogue = AtDialogue()
    dialogue.start("AT+CSQ")
    (reply,) = dialogue.feed(b"x" * (MAX_LINE_BYTES + 5) + b"\r\nOK\r\n")
    assert isinstance(reply, Reply)
    assert reply.lines == ()
    assert (dialogue.dropped_lines, dialogue.noise_bytes) == (1, 5)


def test_reply_without_end_keeps_a_bounded_number_of_lines() -> None:
    dialogue = AtDialogue()
    dialogue.start("AT+CSQ")
    (reply,) = dialogue.feed(b"line\r\n" * (MAX_REPLY_LINES + 3) + b"OK\r\n")
    assert isinstance(reply, Reply)
    assert len(reply.lines) == MAX_REPLY_LINES
    assert dialogue.dropped_lines == 3


@pytest.mark.parametrize("command", ["+CSQ", "AT+CSQ\rAT+CFUN=0", "AT+ü", ""])
def test_what_is_no_single_command_is_the_callers_error(command: str) -> None:
    with pytest.raises(CommandNotSendable):
        AtDialogue().start(command)


def test_second_command_before_the_first_ended_is_the_callers_error() -> None:
    dialogue = AtDialogue()
    dialogue.start("AT")
    with pytest.raises(CommandNotSendable):
        dialogue.start("AT")


@given(stream=streams, data=st.data())
def test_events_do_not_depend_on_chunk_boundaries(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]
    assert read_all("AT+CSQ", *chunks) == read_all("AT+CSQ", stream)


@given(noise=st.binary(max_size=30))
def test_reply_after_noise_is_recovered(noise: bytes) -> None:
    dialogue = AtDialogue()
    dialogue.feed(noise + b"\r\n")
    dialogue.start("AT+CSQ")
    assert dialogue.feed(b"\r\n+CSQ: 5,99\r\n\r\nOK\r\n")[-1] == Reply("AT+CSQ", Final.OK, ("+CSQ: 5,99",))
