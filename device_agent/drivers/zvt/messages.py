"""What the ZVT APDUs mean for the health of a terminal: typed messages both ways.

Only what a diagnosis needs is kept. A terminal's message that is not understood becomes `Other` and is acknowledged
like any other, because a register that stays silent makes the terminal wait for three minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from device_agent.drivers.zvt.apdu import Apdu, decode_apdu, read_fields, read_llvar

# Table 1 of PA00P015 2.1: register prints both kinds of receipt, wants intermediate status, print lines by 06 D1.
CONFIG_REGISTER_PRINTS = 0x02 | 0x04 | 0x08 | 0x80
# Receipts stay on the terminal's own paper, intermediate status wanted: what can stand until a till registers.
CONFIG_TERMINAL_PRINTS = 0x08
EURO = b"\x09\x78"
# Service byte of 05 01, Table 12: software version and further data in the completion.
_STATUS_SERVICE_BYTE = b"\x03\x04"
MAX_TEXT_CHARACTERS = 200


class Control(IntEnum):
    SET_TIME = 0x0401
    STATUS_INFORMATION = 0x040F
    INTERMEDIATE_STATUS = 0x04FF
    STATUS_ENQUIRY = 0x0501
    REGISTRATION = 0x0600
    AUTHORISATION = 0x0601
    LOG_OFF = 0x0602
    COMPLETION = 0x060F
    RESET = 0x0618
    PRINT_SYSTEM_CONFIGURATION = 0x061A
    ABORT_FROM_TERMINAL = 0x061E
    REPEAT_RECEIPT = 0x0620
    END_OF_DAY = 0x0650
    DIAGNOSIS = 0x0670
    INITIALISATION = 0x0693
    ABORT_FROM_REGISTER = 0x06B0
    PRINT_LINE = 0x06D1
    PRINT_TEXT_BLOCK = 0x06D3
    POSITIVE = 0x8000


class RegistrationStatus(Enum):
    """Bits of the status byte (BMP 19) in the completion of a registration, Table 3."""

    INITIALISATION_NEEDED = 0x01
    DIAGNOSIS_NEEDED = 0x02
    OPT_ACTION_NEEDED = 0x04


POSITIVE_RESPONSE = Apdu(Control.POSITIVE)


@dataclass(frozen=True, slots=True)
class Positive:
    """80 00: understood, the command runs."""


@dataclass(frozen=True, slots=True)
class Negative:
    """84 xx: refused, with a result code."""

    result: int


@dataclass(frozen=True, slots=True)
class Completion:
    """06 0F: the command ended well. `data` is read as a status answer only after a status enquiry."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Abort:
    """06 1E: the command ended with a result code."""

    result: int


@dataclass(frozen=True, slots=True)
class IntermediateStatus:
    status: int


@dataclass(frozen=True, slots=True)
class StatusInformation:
    """04 0F without money and card: result code and terminal id."""

    result: int | None
    terminal_id: str | None


@dataclass(frozen=True, slots=True)
class PrintLine:
    text: str


@dataclass(frozen=True, slots=True)
class Other:
    control: int


Message = Positive | Negative | Completion | Abort | IntermediateStatus | StatusInformation | PrintLine | Other


@dataclass(frozen=True, slots=True)
class TerminalStatus:
    """Data block of the completion of a status enquiry (PA00P015 2.56.5)."""

    status: int
    software_version: str | None = None
    device_name: str | None = None
    serial_number: str | None = None


def status_enquiry(password: bytes) -> Apdu:
    return Apdu(Control.STATUS_ENQUIRY, password + _STATUS_SERVICE_BYTE)


def registration(password: bytes, config_byte: int = CONFIG_REGISTER_PRINTS) -> Apdu:
    return Apdu(Control.REGISTRATION, password + bytes([config_byte]) + EURO)


def parse_message(raw: bytes) -> Message:
    apdu = decode_apdu(raw)
    if apdu is None:
        return Other(int.from_bytes(raw[:2], "big"))
    first = apdu.data[0] if apdu.data else 0
    match apdu.control:
        case Control.POSITIVE | 0x8400:
            return Positive()
        case control if control >> 8 == 0x84:
            return Negative(control & 0xFF)
        case Control.COMPLETION:
            return Completion(apdu.data)
        case Control.ABORT_FROM_TERMINAL:
            return Abort(first)
        case Control.INTERMEDIATE_STATUS:
            return IntermediateStatus(first)
        case Control.STATUS_INFORMATION:
            return _status_information(apdu.data)
        case Control.PRINT_LINE:
            return PrintLine(_text(apdu.data[1:]))
        case _:
            return Other(apdu.control)


def parse_terminal_status(data: bytes) -> TerminalStatus | None:
    """None when there is no status byte in it."""
    version: str | None = None
    # F6 alone is a status byte; three length digits in a row begin the software version.
    counted = read_llvar(data, 3)
    if counted is not None:
        version = _text(counted[0])
        data = counted[1]
    if not data:
        return None
    tlv = read_fields(data[1:]).tlv
    name, serial = tlv.get(0x1F40), tlv.get(0x1F42)
    return TerminalStatus(
        status=data[0],
        software_version=version,
        device_name=None if name is None else _text(name),
        serial_number=None if serial is None else serial.hex()[:32],
    )


def registration_needs(data: bytes) -> frozenset[RegistrationStatus]:
    """What the terminal asks for in the completion of a registration."""
    bits = read_fields(data).bitmaps.get(0x19, b"\0")[0]
    return frozenset(each for each in RegistrationStatus if bits & each.value)


def _status_information(data: bytes) -> StatusInformation:
    bitmaps = read_fields(data).bitmaps
    result, terminal = bitmaps.get(0x27), bitmaps.get(0x29)
    return StatusInformation(
        result=None if result is None else result[0], terminal_id=None if terminal is None else terminal.hex()
    )


def _text(raw: bytes) -> str:
    # Code page 437 is the standard's default; it maps every byte, so nothing can fail here.
    text = raw[:MAX_TEXT_CHARACTERS].decode("cp437")
    return "".join(character if character.isprintable() else " " for character in text)
