"""What the lines of an AT reply say: typed values from text, None wherever the modem says "unknown" or nonsense.

27.007: CSQ 99 and CESQ 99 or 255 mean not known, which is neither strong nor weak. Nothing here raises on a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

_SIM_ERRORS = {10: "ABSENT", 11: "PIN", 12: "PUK", 13: "FAILURE", 14: "BUSY", 15: "WRONG"}
# Access technology numbers of +COPS and +CEREG (27.007) in the words of the metric net.type.
_ACCESS = {0: "2g", 1: "2g", 2: "3g", 3: "2g", 4: "3g", 5: "3g", 6: "3g", 7: "4g", 8: "2g", 9: "4g", 11: "5g", 12: "5g"}
MAX_OPERATORS = 32
MAX_TEXT_CHARACTERS = 64


class Sim(Enum):
    """Values of the metric modem.sim_state; `BUSY` is no lasting state and is not reported as one."""

    READY = "ready"
    ABSENT = "absent"
    PIN = "pin"
    PUK = "puk"
    FAILURE = "failure"
    WRONG = "wrong"
    BUSY = "busy"


class RegistrationState(IntEnum):
    """<stat> of +CREG and +CEREG."""

    IDLE = 0
    HOME = 1
    SEARCHING = 2
    DENIED = 3
    UNKNOWN = 4
    ROAMING = 5


@dataclass(frozen=True, slots=True)
class Registration:
    stat: int
    cell_id: str | None = None
    access: str | None = None

    @property
    def is_registered(self) -> bool:
        return self.stat in {RegistrationState.HOME, RegistrationState.ROAMING}


@dataclass(frozen=True, slots=True)
class Operator:
    status: int
    name: str
    numeric: str
    access: str | None


def field_values(lines: tuple[str, ...], prefix: str) -> tuple[str, ...] | None:
    """Comma fields, unquoted, of the first line with this prefix."""
    for line in lines:
        if line.upper().startswith(prefix):
            return tuple(_split(line[len(prefix) :]))
    return None


def parse_sim(lines: tuple[str, ...], cme: int | None) -> Sim | None:
    if cme is not None:
        name = _SIM_ERRORS.get(cme)
        return None if name is None else Sim[name]
    values = field_values(lines, "+CPIN:")
    match values:
        case ("READY", *_):
            return Sim.READY
        case ("SIM PIN" | "SIM PIN2", *_):
            return Sim.PIN
        case ("SIM PUK" | "SIM PUK2", *_):
            return Sim.PUK
        case _:
            return None


def parse_csq(lines: tuple[str, ...]) -> int | None:
    """Signal code 0..31."""
    number = _number(field_values(lines, "+CSQ:"), 0)
    return number if number is not None and number <= 31 else None


def parse_cesq(lines: tuple[str, ...]) -> tuple[float | None, float | None]:
    """RSRQ in dB and RSRP in dBm."""
    values = field_values(lines, "+CESQ:")
    rsrq, rsrp = _number(values, 4), _number(values, 5)
    return (
        None if rsrq is None or rsrq > 34 else max(rsrq / 2 - 19.5, -20.0),
        None if rsrp is None or rsrp > 97 else float(min(rsrp - 140, -44)),
    )


def parse_sinr(lines: tuple[str, ...]) -> float | None:
    """SINR in dB from the LTE serving cell line of AT+QENG (Quectel): field 16, -20..30."""
    values = field_values(lines, "+QENG:")
    if values is None or len(values) < 17 or values[2] != "LTE":
        return None
    text = values[16]
    if len(text) > 4 or not text.removeprefix("-").isdecimal():
        return None
    return float(int(text)) if -20 <= int(text) <= 30 else None


def parse_registration(lines: tuple[str, ...], prefix: str) -> Registration | None:
    """A read answer `n,stat[,area,cell,access]`, prefix such as "+CEREG:"."""
    # The answer stands last: an unasked result of the same name may have slipped in before it.
    values = field_values(lines[::-1], prefix)
    stat = _number(values, 1)
    if values is None or stat is None or stat > 10:
        return None
    cell = values[3] if len(values) > 3 else ""
    access = _number(values, 4)
    return Registration(
        stat=stat,
        cell_id=cell[:16].upper() if cell and _is_hex(cell) else None,
        access=None if access is None else _ACCESS.get(access),
    )


def parse_attach(lines: tuple[str, ...]) -> bool | None:
    number = _number(field_values(lines, "+CGATT:"), 0)
    return None if number is None else number == 1


def parse_context_active(lines: tuple[str, ...], context: int) -> bool | None:
    for line in lines:
        values = field_values((line,), "+CGACT:")
        if _number(values, 0) == context:
            return _number(values, 1) == 1
    return None


def parse_address(lines: tuple[str, ...], context: int) -> str | None:
    for line in lines:
        values = field_values((line,), "+CGPADDR:")
        if values is not None and _number(values, 0) == context and len(values) > 1 and values[1]:
            return None if values[1].strip("0.") == "" else values[1][:MAX_TEXT_CHARACTERS]
    return None


def parse_apn(lines: tuple[str, ...], context: int) -> str | None:
    for line in lines:
        values = field_values((line,), "+CGDCONT:")
        if values is not None and _number(values, 0) == context and len(values) > 2:
            return values[2][:MAX_TEXT_CHARACTERS]
    return None


def parse_digits(lines: tuple[str, ...], *, shortest: int, longest: int) -> str | None:
    """An identity (IMEI, ICCID) from a bare or prefixed line."""
    for line in lines:
        text = line.rpartition(":")[2].strip().strip('"').upper().rstrip("F")
        if text.isdecimal() and text.isascii() and shortest <= len(text) <= longest:
            return text
    return None


def parse_revision(lines: tuple[str, ...]) -> str | None:
    """27.007 5.3: text of the maker's choosing, by many with the command's name before it; the first line tells."""
    for line in lines:
        text = line.removeprefix("+CGMR:").strip().strip('"')
        if text and text.isprintable():
            return text[:MAX_TEXT_CHARACTERS]
    return None


def parse_operator(lines: tuple[str, ...]) -> str | None:
    values = field_values(lines, "+COPS:")
    return values[2][:MAX_TEXT_CHARACTERS] if values is not None and len(values) > 2 and values[2] else None


def parse_scan(lines: tuple[str, ...]) -> tuple[Operator, ...]:
    """Operators of AT+COPS=?, at most `MAX_OPERATORS`."""
    found = []
    for line in lines:
        if not line.startswith("+COPS:"):
            continue
        for group in line.partition(":")[2].split("("):
            values = tuple(_split(group.partition(")")[0]))
            status, access = _number(values, 0), _number(values, 4)
            # The groups behind the operators list the supported modes; only operators have a network code.
            if len(values) >= 4 and status is not None and values[3].isdecimal() and len(values[3]) in {5, 6}:
                technology = None if access is None else _ACCESS.get(access)
                found.append(Operator(status, values[1][:MAX_TEXT_CHARACTERS], values[3], technology))
    return tuple(found[:MAX_OPERATORS])


def _split(text: str) -> list[str]:
    return [part.strip().strip('"') for part in text.split(",")]


def _number(values: tuple[str, ...] | None, at: int) -> int | None:
    if values is None or at >= len(values):
        return None
    text = values[at]
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else None


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)
