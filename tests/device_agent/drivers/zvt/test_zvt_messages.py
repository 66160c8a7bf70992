from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.drivers.zvt import codes, messages
from device_agent.drivers.zvt.apdu import Apdu, decode_apdu, read_fields, read_llvar, read_tlv, write_llvar, write_tlv
from device_agent.drivers.zvt.messages import parse_message, parse_terminal_status
from device_agent.drivers.zvt.wire import MAX_APDU_BYTES, ApduTooLong
from protocol.catalogue import codes as catalogue


def captured(vectors: Any, name: str) -> bytes:
    return next(bytes.fromhex(each["apdu"]) for each in vectors["apdus"] if each["name"] == name)


def test_captured_status_completion_is_a_bare_status_byte(zvt_vectors: Any) -> None:
    message = parse_message(captured(zvt_vectors, "status completion, card inserted"))
    assert message == messages.Completion(b"\xdc")
    status = parse_terminal_status(b"\xdc")
    assert status == messages.TerminalStatus(codes.CARD_INSERTED)


def test_captured_abort_intermediate_and_registration_are_read(zvt_vectors: Any) -> None:
    assert parse_message(captured(zvt_vectors, "abort by key")) == messages.Abort(0x6C)
    assert parse_message(captured(zvt_vectors, "intermediate status")) == messages.IntermediateStatus(0x0E)
    completion = parse_message(captured(zvt_vectors, "registration completion"))
    assert isinstance(completion, messages.Completion)
    fields = read_fields(completion.data)
    assert fields.is_whole
    assert fields.bitmaps == {0x19: b"\0", 0x29: bytes.fromhex("29001006"), 0x49: bytes.fromhex("0978")}


def test_captured_status_information_gives_result_and_terminal_id(zvt_vectors: Any) -> None:
    plain = parse_message(captured(zvt_vectors, "status information, aborted"))
    assert plain == messages.StatusInformation(0x6C, "29001006")
    with_text = captured(zvt_vectors, "status information with text")
    assert parse_message(with_text) == messages.StatusInformation(0x6C, "28004869")
    assert read_fields(with_text[3:]).bitmaps[0x3C] == b"Abbruch durch Kunde"


def test_masked_card_number_is_stepped_over_and_not_kept() -> None:
    # 22 F0 F8 and eight bytes of card number, as a terminal sends it, then the terminal id.
    fields = read_fields(bytes.fromhex("270022f0f8eeeeeeeeeeee47712928004869"))
    assert fields.is_whole
    assert set(fields.bitmaps) == {0x27, 0x29}


def test_status_with_version_and_device_data_is_read() -> None:
    device = write_tlv(0xE4, write_tlv(0x1F40, b"PT 9") + write_tlv(0x1F42, bytes.fromhex("00471102")))
    data = write_llvar(b"SW 3.1", 3) + b"\xcc" + write_tlv(0x06, device)
    assert parse_terminal_status(data) == messages.TerminalStatus(0xCC, "SW 3.1", "PT 9", "00471102")


def test_status_f6_alone_is_a_status_and_not_a_length() -> None:
    assert parse_terminal_status(b"\xf6") == messages.TerminalStatus(0xF6)
    assert parse_terminal_status(b"") is None


def test_length_over_254_takes_the_long_form_low_byte_first() -> None:
    raw = Apdu(0x06D3, bytes(300)).encode()
    assert raw[:5] == bytes.fromhex("06d3ff2c01")
    assert decode_apdu(raw) == Apdu(0x06D3, bytes(300))
    with pytest.raises(ApduTooLong):
        Apdu(0x06D3, bytes(MAX_APDU_BYTES)).encode()


def test_llvar_is_read_as_the_standard_writes_it() -> None:
    # PA00P016 5.2.8.1: F1 F2 states that the following 12 bytes belong to the field.
    field = bytes.fromhex("f1f2012345678901234567890123")
    assert read_llvar(field + b"\x27", 2) == (field[2:], b"\x27")
    assert write_llvar(field[2:], 2) == field
    assert read_llvar(bytes.fromhex("f0fa01"), 2) is None


@given(st.dictionaries(st.sampled_from([0x07, 0x12, 0x1F40, 0x1F42, 0x41]), st.binary(max_size=300), max_size=5))
def test_tlv_reads_back_through_a_container(objects: dict[int, bytes]) -> None:
    inner = b"".join(write_tlv(tag, value) for tag, value in objects.items())
    assert read_tlv(write_tlv(0xE4, inner)) == objects


@given(raw=st.binary(max_size=120))
def test_arbitrary_bytes_never_raise(raw: bytes) -> None:
    assert isinstance(parse_message(raw), messages.Message)
    assert isinstance(parse_terminal_status(raw), messages.TerminalStatus | None)
    fields = read_fields(raw)
    # What is read is in what came: nothing is made up, and nothing reaches beyond the end.
    assert all(value in raw for value in [*fields.bitmaps.values(), *fields.tlv.values(), *read_tlv(raw).values()])


def test_control_characters_of_a_print_line_do_not_survive() -> None:
    assert parse_message(Apdu(0x06D1, b"\x00A\x1b[2JB\x07").encode()) == messages.PrintLine("A [2JB ")


def test_every_code_we_name_is_in_the_catalogue() -> None:
    named = {codes.result_code(result) for result in range(256)} | {codes.status_code(status) for status in range(256)}
    unknown = {code for code in named - {None} if catalogue.get(str(code)) is None}
    assert not unknown


def test_every_zvt_code_of_the_catalogue_can_be_named() -> None:
    named = {codes.result_code(result) for result in range(1, 256)} | {
        codes.status_code(status) for status in range(256)
    }
    missing = {code.id for code in catalogue.all() if code.id.startswith("zvt.")} - named
    assert missing == {"zvt.00"}


def test_host_digits_and_status_bytes_of_the_same_value_are_told_apart() -> None:
    assert codes.result_code(0x51) == "zvt.01-63"
    assert codes.status_code(0x51) == "zvt.51"
    assert codes.status_code(codes.PLEASE_WAIT) is None


@pytest.mark.parametrize(("size", "head"), [(127, "077f"), (128, "078180"), (255, "0781ff"), (256, "07820100")])
def test_tlv_length_takes_the_form_its_size_needs(size: int, head: str) -> None:
    raw = write_tlv(0x07, bytes(size))
    assert raw.startswith(bytes.fromhex(head))
    assert read_tlv(raw) == {0x07: bytes(size)}


def test_tlv_length_of_no_known_form_ends_the_reading() -> None:
    assert read_tlv(bytes.fromhex("0784000000010a")) == {}
    assert read_tlv(bytes.fromhex("0101aa0780")) == {0x01: b"\xaa"}
