"""Ten thousand seeded streams per reader, random and damaged: each is counted, none raises, none holds the next up."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from device_agent.drivers.escpos.wire import RealTimeStatus, StatusReader
from device_agent.drivers.modem.wire import AtDialogue, Final, Reply
from device_agent.drivers.zvt.apdu import Apdu
from device_agent.drivers.zvt.messages import parse_message, parse_terminal_status
from device_agent.drivers.zvt.wire import Frame, SerialReader, TcpReader, encode_block

STREAMS = 10_000
SEED = 20260301
ZVT_MODEL = (
    encode_block(bytes.fromhex("060f0a19002929001006490978")) + b"\x06" + encode_block(bytes.fromhex("04ff010e"))
)
TCP_MODEL = bytes.fromhex("800000060f0a1900292900100649097804ff010e")
ESCPOS_MODEL = b"\x12\x1a\x32\x7e" + bytes.fromhex("1400000f") + b"\x5fTM-SIM80\0\x03"
AT_MODEL = b'AT+CEREG?\r\r\n+CEREG: 2,1,"10A4","0A2B3C1D",7\r\n\r\nOK\r\n\r\n+CME ERROR: 10\r\n'


def hostile_streams(model: bytes, chance: random.Random) -> Iterator[list[bytes]]:
    """Random bytes, and the model with bytes changed, lost, doubled and cut, in random chunks."""
    for number in range(STREAMS):
        if number % 4 == 0:
            stream = bytearray(chance.randbytes(chance.randrange(48)))
        else:
            stream = bytearray(model[: chance.randrange(1, len(model) + 1)])
            for _ in range(chance.randrange(1, 5)):
                at = chance.randrange(len(stream))
                match chance.randrange(3):
                    case 0:
                        stream[at] = chance.randrange(256)
                    case 1:
                        stream[at:at] = stream[at : at + 3]
                    case _ if len(stream) > 1:
                        del stream[at]
        middle = chance.randrange(len(stream) + 1)
        yield [bytes(stream[:middle]), bytes(stream[middle:])]


@pytest.mark.parametrize("make_reader", [SerialReader, TcpReader])
def test_zvt_readers_count_and_survive_everything(make_reader: Callable[[], SerialReader | TcpReader]) -> None:
    is_serial = make_reader is SerialReader
    chance = random.Random(SEED)
    reader = make_reader()
    good = bytes.fromhex("060f0100")
    sent, accounted = 0, 0
    for chunks in hostile_streams(ZVT_MODEL if is_serial else TCP_MODEL, chance):
        noise_before = reader.noise_bytes
        events: list[Any] = [event for chunk in chunks for event in reader.feed(chunk)]
        events += reader.on_silence()
        for event in events:
            if isinstance(event, Frame):
                message = parse_message(event.apdu)
                parse_terminal_status(getattr(message, "data", b""))
        sent += any(chunks)
        accounted += bool(events) or reader.noise_bytes > noise_before
        assert not reader.in_frame, f"seed {SEED}"
        assert reader.feed(encode_block(good) if is_serial else good) == [Frame(good)], f"seed {SEED}"
    assert accounted == sent


def test_printer_reader_counts_and_survives_everything() -> None:
    chance = random.Random(SEED)
    reader = StatusReader()
    for chunks in hostile_streams(ESCPOS_MODEL, chance):
        for chunk in chunks:
            reader.feed(chunk)
        reader.on_silence()
        assert reader.feed(b"\x12") == [RealTimeStatus(0x12)], f"seed {SEED}"


def test_modem_dialogue_counts_and_survives_everything() -> None:
    chance = random.Random(SEED)
    dialogue = AtDialogue()
    for chunks in hostile_streams(AT_MODEL, chance):
        dialogue.start("AT+CEREG?")
        for chunk in chunks:
            dialogue.feed(chunk)
        dialogue.abandon()
        dialogue.start("AT+CSQ")
        answer = dialogue.feed(b"\r\n+CSQ: 5,99\r\n\r\nOK\r\n")[-1]
        assert answer == Reply("AT+CSQ", Final.OK, ("+CSQ: 5,99",)), f"seed {SEED}"


def test_lying_length_fields_do_not_make_a_driver_wait_for_megabytes() -> None:
    reader = SerialReader()
    events = reader.feed(encode_block(Apdu(0x06D3, bytes(300)).encode()[:3] + b"\xff\xff" + bytes(20)))
    assert len(events) == 1
    assert not reader.in_frame
