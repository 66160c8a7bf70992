from __future__ import annotations

from datetime import UTC, datetime

import pytest

from device_agent.drivers.zvt.wire import ACK_BYTES, NAK_BYTES, encode_block
from simulators.peripherals.peripheral import Channel, ChannelKind
from simulators.peripherals.zvt_session import MAX_REPEATS, T2_S
from simulators.peripherals.zvt_terminal import ZvtTerminal

POSITIVE = bytes.fromhex("800000")
ENQUIRY = bytes.fromhex("050103000000")


@pytest.fixture
def terminal() -> ZvtTerminal:
    return ZvtTerminal(clock=lambda: datetime(2026, 3, 1, 9, 30, 15, tzinfo=UTC))


@pytest.fixture
def serial(terminal: ZvtTerminal) -> Channel:
    return terminal.open_channel(ChannelKind.SERIAL)


def test_block_is_acknowledged_before_it_is_answered(serial: Channel) -> None:
    assert serial.receive(encode_block(ENQUIRY), 0.0) == ACK_BYTES + encode_block(POSITIVE)


def test_damaged_block_is_refused(serial: Channel) -> None:
    block = bytearray(encode_block(ENQUIRY))
    block[-1] ^= 1
    assert serial.receive(bytes(block), 0.0) == NAK_BYTES


def test_block_that_stops_is_refused_after_t1(serial: Channel) -> None:
    assert serial.receive(encode_block(ENQUIRY)[:-2], 0.0) == b""
    assert serial.tick(0.1) == b""
    assert serial.tick(0.3) == NAK_BYTES


def test_block_without_acknowledgement_is_sent_again_twice_and_then_given_up(serial: Channel) -> None:
    first = serial.receive(encode_block(ENQUIRY), 0.0)[1:]
    now_s = 0.0
    repeats = []
    for _ in range(MAX_REPEATS + 2):
        now_s += T2_S + 0.1
        repeats.append(serial.tick(now_s))
    assert repeats == [first, first, b"", b""]
    assert serial.receive(encode_block(ENQUIRY), now_s).startswith(ACK_BYTES)


def test_completion_follows_the_acknowledged_response_and_waits_for_its_reply(serial: Channel) -> None:
    serial.receive(encode_block(ENQUIRY), 0.0)
    completion = serial.receive(ACK_BYTES, 0.1)
    assert completion == encode_block(bytes.fromhex("060f10f0f1f2") + b"TM-SIM 2.4.1" + b"\x00")
    assert serial.receive(ACK_BYTES, 0.2) == b""
    assert serial.receive(encode_block(POSITIVE), 0.3) == ACK_BYTES


def test_service_byte_chooses_what_the_status_completion_carries(terminal: ZvtTerminal) -> None:
    tcp = terminal.open_channel(ChannelKind.TCP)
    without_version = tcp.receive(bytes.fromhex("0501050000000302"), 0.0)
    assert without_version == POSITIVE + bytes.fromhex("060f0100")
    tcp.receive(POSITIVE, 0.1)
    with_device = tcp.receive(bytes.fromhex("0501050000000306"), 0.2)
    assert bytes.fromhex("1f4204") + bytes.fromhex("00471102") in with_device


def test_diagnosis_over_tcp_is_the_standards_sequence(terminal: ZvtTerminal) -> None:
    tcp = terminal.open_channel(ChannelKind.TCP)
    assert tcp.receive(bytes.fromhex("067000"), 0.0) == POSITIVE + bytes.fromhex("04ff0104")
    assert tcp.receive(POSITIVE, 0.1) == b""
    # System time from the host (04 01), then the slip line by line, then the completion.
    assert tcp.tick(0.5) == bytes.fromhex("040108aa2603010c093015")
    lines = [tcp.receive(POSITIVE, 0.6) for _ in range(4)]
    assert all(line.startswith(bytes.fromhex("06d1")) for line in lines)
    assert tcp.receive(POSITIVE, 0.7) == bytes.fromhex("060f00")


def test_command_the_terminal_does_not_have_is_refused(terminal: ZvtTerminal) -> None:
    tcp = terminal.open_channel(ChannelKind.TCP)
    assert tcp.receive(bytes.fromhex("06e400"), 0.0) == bytes.fromhex("848300")


def test_foreign_currency_is_refused_at_registration(terminal: ZvtTerminal) -> None:
    tcp = terminal.open_channel(ChannelKind.TCP)
    assert tcp.receive(bytes.fromhex("0600060000008e0840"), 0.0) == bytes.fromhex("841e016f")


def test_own_paper_is_used_only_when_the_register_does_not_print(terminal: ZvtTerminal) -> None:
    tcp = terminal.open_channel(ChannelKind.TCP)
    tcp.receive(bytes.fromhex("060006000000000978"), 0.0)
    tcp.receive(POSITIVE, 0.1)
    assert tcp.receive(bytes.fromhex("061a00"), 0.2) == POSITIVE + bytes.fromhex("060f00")
    assert terminal.snapshot()["printed_lines"] == ["SYSTEMINFO", "TM-SIM PT", "SW TM-SIM 2.4.1", "TID 68001234"]
    tcp.receive(POSITIVE, 0.3)
    terminal.apply_fault("paper_out")
    assert tcp.receive(bytes.fromhex("061a00"), 0.4) == POSITIVE + bytes.fromhex("061e01cc")


def test_abort_from_the_register_is_answered(terminal: ZvtTerminal) -> None:
    tcp = terminal.open_channel(ChannelKind.TCP)
    assert tcp.receive(bytes.fromhex("06b000"), 0.0) == POSITIVE + bytes.fromhex("061e016c")


def test_register_may_print_on_the_terminals_paper_while_there_is_some(terminal: ZvtTerminal) -> None:
    tcp = terminal.open_channel(ChannelKind.TCP)
    assert tcp.receive(bytes.fromhex("06d10300") + b"AB", 0.0) == POSITIVE
    assert terminal.snapshot()["printed_lines"] == ["AB"]
    terminal.apply_fault("cover_open")
    assert tcp.receive(bytes.fromhex("06d10300") + b"AB", 0.1) == bytes.fromhex("84cc00")


def test_log_off_ends_the_registration(terminal: ZvtTerminal) -> None:
    tcp = terminal.open_channel(ChannelKind.TCP)
    assert tcp.receive(bytes.fromhex("060200"), 0.0) == POSITIVE
    assert terminal.snapshot()["config_byte"] is None


def test_refused_block_is_sent_again_at_once(serial: Channel) -> None:
    first = serial.receive(encode_block(ENQUIRY), 0.0)[1:]
    assert [serial.receive(NAK_BYTES, 0.1) for _ in range(3)] == [first, first, b""]
