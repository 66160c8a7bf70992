from __future__ import annotations

import random

import pytest

from simulators.peripherals.escpos_commands import next_command
from simulators.peripherals.escpos_printer import BUFFER_BYTES, EscposPrinter


@pytest.fixture
def printer() -> EscposPrinter:
    return EscposPrinter()


def statuses(printer: EscposPrinter) -> str:
    return b"".join(printer.receive(bytes([0x10, 0x04, n]), 0.0) for n in range(1, 5)).hex(" ")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (None, "12 12 12 12"),
        ("paper_near", "12 12 12 1e"),
        ("paper_out", "1a 32 12 7e"),
        ("cover_open", "1a 16 12 12"),
        ("cutter_jam", "1a 52 1a 12"),
        ("mechanical_jam", "1a 52 16 12"),
        ("psu_brownout", "1a 52 32 12"),
        ("head_overheat", "3a 52 52 12"),
    ],
)
def test_real_time_status_has_the_bits_of_the_command_reference(
    printer: EscposPrinter, fault: str | None, expected: str
) -> None:
    if fault is not None:
        printer.apply_fault(fault)
    assert statuses(printer) == expected


def test_real_time_status_is_answered_in_the_middle_of_blocked_text(printer: EscposPrinter) -> None:
    printer.apply_fault("paper_out")
    assert printer.receive(b"total 12.50\n\x10\x04\x04more\n\x1dr\x01", 0.0) == b"\x7e"
    assert printer.printed_text() == []
    printer.clear_fault()
    assert printer.tick(0.1) == b"\x00"
    assert printer.printed_text() == ["total 12.50", "more"]


def test_real_time_command_behind_a_lone_dle_is_still_seen(printer: EscposPrinter) -> None:
    assert printer.receive(b"\x10\x10\x04\x01", 0.0) == b"\x12"


def test_request_in_pieces_is_answered_once_it_is_whole(printer: EscposPrinter) -> None:
    assert [printer.receive(bytes([byte]), 0.0) for byte in b"\x10\x04\x01"] == [b"", b"", b"\x12"]


COUNTER = bytes.fromhex("1d6732009400")


def test_maintenance_counter_answers_the_lines_fed_and_rises_with_each(printer: EscposPrinter) -> None:
    assert printer.receive(COUNTER, 0.0) == bytes.fromhex("5f343832313100")
    printer.receive(b"one\ntwo\n\x1bd\x04", 0.1)
    assert printer.receive(COUNTER, 0.2) == bytes.fromhex("5f343832313700")
    # Reading it moves nothing, and of other counters nothing is told.
    assert printer.receive(COUNTER, 0.3) == bytes.fromhex("5f343832313700")
    assert printer.receive(bytes.fromhex("1d6732001400"), 0.4) == b""
    assert printer.printed_text() == ["one", "two", ""]


def test_maintenance_counter_is_answered_behind_what_was_printed_before_it(printer: EscposPrinter) -> None:
    printer.apply_fault("cover_open")
    assert printer.receive(b"late\n" + COUNTER, 0.0) == b""
    printer.clear_fault()
    assert printer.tick(0.1) == bytes.fromhex("5f343832313200")


def test_printer_without_counters_skips_the_question_and_prints_none_of_it() -> None:
    plain = EscposPrinter(has_counters=False)
    assert plain.receive(COUNTER + b"text\n", 0.0) == b""
    assert plain.printed_text() == ["text"]


def test_automatic_status_is_sent_on_request_and_on_every_change(printer: EscposPrinter) -> None:
    assert printer.receive(b"\x1da\x0f", 0.0) == bytes.fromhex("1000000f")
    assert printer.tick(0.1) == b""
    printer.apply_fault("cover_open")
    assert printer.tick(0.2) == bytes.fromhex("3800000f")
    assert printer.tick(0.3) == b""
    printer.clear_fault()
    assert printer.tick(0.4) == bytes.fromhex("1000000f")
    assert printer.receive(b"\x1da\x00", 0.5) == b""
    printer.apply_fault("paper_out")
    assert printer.tick(0.6) == b""


def test_identity_waits_in_the_buffer_of_a_blocked_printer(printer: EscposPrinter) -> None:
    printer.apply_fault("cover_open")
    assert printer.receive(b"\x1dI\x43", 0.0) == b""
    printer.clear_fault()
    assert printer.tick(0.1) == b"\x5fTM-SIM80\x00"


def test_commands_it_does_not_have_leave_no_text_behind(printer: EscposPrinter) -> None:
    # Alignment, emphasis, size, QR code, raster image of 8 x 1 dots, drawer kick.
    printer.receive(b"\x1ba\x01\x1bE\x01\x1d!\x11", 0.0)
    printer.receive(b"\x1d(k\x04\x00\x31\x41\x32\x00\x1dv0\x00\x01\x00\x01\x00\x41\x1bp\x00\x19\xfaok\n", 0.0)
    assert printer.printed_text() == ["ok"]


def test_buffer_is_bounded_and_counts_what_it_drops(printer: EscposPrinter) -> None:
    printer.apply_fault("paper_out")
    printer.receive(b"x" * (BUFFER_BYTES + 10), 0.0)
    assert printer.dropped_bytes == 10


def test_command_longer_than_the_buffer_does_not_block_for_ever(printer: EscposPrinter) -> None:
    printer.receive(b"\x1dv0\x00\xff\xff\xff\xff" + b"\xaa" * BUFFER_BYTES, 0.0)
    printer.receive(b"text\n", 0.0)
    assert printer.printed_text()[-1].endswith("text")


def test_random_bytes_never_raise() -> None:
    chance = random.Random(11)
    printer = EscposPrinter()
    for _ in range(300):
        printer.receive(chance.randbytes(200), 0.0)
        printer.receive(b"\x1b" + chance.randbytes(3) + b"\x1d" + chance.randbytes(6), 0.0)
    assert printer.receive(b"\x10\x10\x04\x01", 0.0)[-1:] == b"\x12"


def test_no_command_is_longer_than_what_is_there() -> None:
    chance = random.Random(12)
    for _ in range(2000):
        data = bytes([chance.choice(b"\x1b\x1d\x1c\x10")]) + chance.randbytes(chance.randrange(12))
        assert 0 <= next_command(data) <= len(data)
