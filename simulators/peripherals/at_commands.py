"""The AT commands the simulated modem knows (3GPP TS 27.007, 27.005, V.250, two vendors' identity commands).

    AT<basic>  AT+NAME  AT+NAME?  AT+NAME=?  AT+NAME=<values>     several joined by ";"

Each command is one function on the modem. A name or form that is not here fails as the modem would: with ERROR.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulators.peripherals.at_modem import AtModem

_COMMAND = re.compile(r"([+^$*][A-Za-z0-9]+|[&]?[A-Za-z]\d*)(=\?|\?|=.*)?$")
_HOME = 1
MAX_JOINED_COMMANDS = 16


class Form(Enum):
    RUN = "run"
    READ = "read"
    TEST = "test"
    SET = "set"


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    form: Form
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    lines: tuple[str, ...] = ()
    delay_s: float = 0.0


class AtFailed(Exception):
    """The command ends with ERROR, or with +CME ERROR and this number."""

    def __init__(self, number: int | None = None) -> None:
        super().__init__(str(number))
        self.number = number


Handler = Callable[["AtModem", Command], Answer]


class CommandTable:
    def __init__(self) -> None:
        self._handlers: dict[tuple[str, Form], Handler] = {}

    def on(self, name: str, *forms: Form) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            for form in forms:
                self._handlers[name, form] = handler
            return handler

        return register

    def says(self, name: str, form: Form, *lines: str) -> None:
        """A command whose answer never changes."""
        self._handlers[name, form] = lambda _modem, _command: Answer(lines)

    def run(self, modem: AtModem, command: Command) -> Answer:
        handler = self._handlers.get((command.name, command.form))
        if handler is None:
            raise AtFailed
        return handler(modem, command)


COMMANDS = CommandTable()
_FORMS = {"?": Form.READ, "=?": Form.TEST}


def parse_command(text: str) -> list[Command]:
    if text[:2].upper() != "AT":
        raise AtFailed
    commands = []
    for part in text[2:].split(";")[:MAX_JOINED_COMMANDS]:
        if not part:
            continue
        match = _COMMAND.match(part.strip())
        if match is None:
            raise AtFailed
        name, tail = match[1].upper(), match[2] or ""
        if tail in _FORMS:
            commands.append(Command(name, _FORMS[tail]))
        elif tail:
            values = tuple(value.strip().strip('"') for value in tail[1:].split(","))
            commands.append(Command(name, Form.SET, values))
        else:
            commands.append(Command(name, Form.RUN))
    return commands


for _name in ("V1", "Q0", "Z", "Z0", "&F", "&F0", "&C1", "&D2", "X4", "H", "H0", "S0"):
    COMMANDS.says(_name, Form.RUN)
for _name, _lines in {
    "+CGMI": ("TILLMEDIC",),
    "+GMI": ("TILLMEDIC",),
    "+CGMM": ("TM-LTE1",),
    "+GMM": ("TM-LTE1",),
    "+CGMR": ("TMLTE1R01A02",),
    "+GMR": ("TMLTE1R01A02",),
    "I": ("TILLMEDIC", "TM-LTE1", "Revision: TMLTE1R01A02"),
}.items():
    COMMANDS.says(_name, Form.RUN, *_lines)
COMMANDS.says("+CSCS", Form.TEST, '+CSCS: ("IRA","GSM","UCS2")')
COMMANDS.says("+CMEE", Form.TEST, "+CMEE: (0-2)")
COMMANDS.says("+CPIN", Form.TEST)
COMMANDS.says("+CSQ", Form.TEST, "+CSQ: (0-31,99),(0-7,99)")
COMMANDS.says("+CESQ", Form.TEST, "+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)")
COMMANDS.says("+CFUN", Form.TEST, "+CFUN: (0,1,4),(0,1)")


@COMMANDS.on("E0", Form.RUN)
@COMMANDS.on("E1", Form.RUN)
@COMMANDS.on("E", Form.RUN)
def _echo(modem: AtModem, command: Command) -> Answer:
    modem.state.echo = command.name == "E1"
    return Answer()


@COMMANDS.on("+CMEE", Form.READ, Form.SET)
def _error_mode(modem: AtModem, command: Command) -> Answer:
    if command.form is Form.READ:
        return Answer((f"+CMEE: {modem.state.error_mode}",))
    modem.state.error_mode = _choice(command, 0, {0, 1, 2})
    return Answer()


@COMMANDS.on("+CSCS", Form.READ, Form.SET)
@COMMANDS.on("+CMGF", Form.READ, Form.SET)
def _setting(modem: AtModem, command: Command) -> Answer:
    default = "IRA" if command.name == "+CSCS" else "0"
    if command.form is Form.READ:
        value = modem.state.settings.get(command.name, default)
        return Answer((f'{command.name}: "{value}"' if value.isalpha() else f"{command.name}: {value}",))
    modem.state.settings[command.name] = command.values[0][:16]
    return Answer()


@COMMANDS.on("+CGSN", Form.RUN)
@COMMANDS.on("+GSN", Form.RUN)
def _imei(modem: AtModem, _command: Command) -> Answer:
    return Answer((modem.state.imei,))


@COMMANDS.on("+CIMI", Form.RUN)
@COMMANDS.on("+CCID", Form.RUN, Form.READ)
@COMMANDS.on("+QCCID", Form.RUN)
@COMMANDS.on("+CPIN", Form.READ)
def _sim(modem: AtModem, command: Command) -> Answer:
    error = modem.sim_error()
    if error is not None:
        raise AtFailed(error)
    match command.name:
        case "+CIMI":
            return Answer((modem.state.imsi,))
        case "+CPIN":
            return Answer(("+CPIN: READY",))
        case name:
            return Answer((f"{name}: {modem.state.iccid}",))


@COMMANDS.on("+CSQ", Form.RUN)
def _csq(modem: AtModem, _command: Command) -> Answer:
    return Answer((f"+CSQ: {modem.signal()[0]},99",))


@COMMANDS.on("+CESQ", Form.RUN)
def _cesq(modem: AtModem, _command: Command) -> Answer:
    _, rsrq, rsrp, _ = modem.signal()
    return Answer((f"+CESQ: 99,99,255,255,{rsrq},{rsrp}",))


@COMMANDS.on("+QENG", Form.SET)
def _serving_cell(modem: AtModem, command: Command) -> Answer:
    if command.values != ("servingcell",):
        raise AtFailed
    _, rsrq, rsrp, sinr_db = modem.signal()
    if modem.registration() != _HOME:
        return Answer(('+QENG: "servingcell","SEARCH"',))
    cell = f"460,00,{modem.state.cell},117,1300,3,5,5,{modem.state.area},{rsrp - 140},{rsrq // 2 - 19},-61,{sinr_db},30"
    return Answer((f'+QENG: "servingcell","NOCONN","LTE","FDD",{cell}',))


@COMMANDS.on("+CREG", Form.READ, Form.SET, Form.TEST)
@COMMANDS.on("+CGREG", Form.READ, Form.SET, Form.TEST)
@COMMANDS.on("+CEREG", Form.READ, Form.SET, Form.TEST)
def _registration(modem: AtModem, command: Command) -> Answer:
    kind = command.name[1:]
    if command.form is Form.TEST:
        return Answer((f"{command.name}: (0-2)",))
    if command.form is Form.SET:
        modem.state.registration_modes[kind] = _choice(command, 0, {0, 1, 2})
        return Answer()
    mode, stat = modem.state.registration_modes[kind], modem.registration()
    where = f',"{modem.state.area}","{modem.state.cell}",7' if mode == 2 and stat == _HOME else ""
    return Answer((f"{command.name}: {mode},{stat}{where}",))


@COMMANDS.on("+CGATT", Form.READ, Form.SET)
def _attach(modem: AtModem, command: Command) -> Answer:
    if command.form is Form.READ:
        return Answer((f"+CGATT: {int(modem.is_attached())}",))
    modem.state.attached = _choice(command, 0, {0, 1}) == 1
    if not modem.state.attached:
        modem.state.context_active = False
    return Answer()


@COMMANDS.on("+CGACT", Form.READ, Form.SET)
def _context(modem: AtModem, command: Command) -> Answer:
    if command.form is Form.READ:
        return Answer((f"+CGACT: 1,{int(_context_up(modem))}",))
    if _choice(command, 0, {0, 1}):
        modem.activate_context()
    else:
        modem.state.context_active = False
    return Answer()


@COMMANDS.on("+CGPADDR", Form.RUN, Form.SET)
def _address(modem: AtModem, _command: Command) -> Answer:
    return Answer(('+CGPADDR: 1,"10.64.12.7"' if _context_up(modem) else '+CGPADDR: 1,"0.0.0.0"',))


@COMMANDS.on("+CGDCONT", Form.READ, Form.SET)
def _context_definition(modem: AtModem, command: Command) -> Answer:
    if command.form is Form.READ:
        return Answer((f'+CGDCONT: 1,"IP","{modem.state.apn}","0.0.0.0",0,0',))
    if len(command.values) < 3 or command.values[0] != "1":
        raise AtFailed(3)
    modem.state.apn = command.values[2][:64]
    return Answer()


@COMMANDS.on("+CFUN", Form.READ, Form.SET)
def _function_level(modem: AtModem, command: Command) -> Answer:
    if command.form is Form.READ:
        return Answer((f"+CFUN: {modem.state.function_level}",))
    level = _choice(command, 0, {0, 1, 4})
    if level == 1 and command.values[1:2] == ("1",):
        modem.restart()
    else:
        modem.set_function_level(level)
    return Answer()


@COMMANDS.on("+COPS", Form.READ, Form.SET, Form.TEST)
def _operator(modem: AtModem, command: Command) -> Answer:
    state = modem.state
    if command.form is Form.TEST:
        found = '(2,"TM Mobile","TMM","00101",7),(1,"TM Second","TM2","00102",7),(3,"TM Third","TM3","00103",2)'
        return Answer((f"+COPS: {found},,(0,1,2,3,4),(0,1,2)",), delay_s=modem.scan_s)
    if command.form is Form.READ:
        if modem.registration() != _HOME:
            return Answer((f"+COPS: {state.operator_mode}",))
        name = "00101" if state.operator_format == 2 else "TM Mobile"
        return Answer((f'+COPS: {state.operator_mode},{state.operator_format},"{name}",7',))
    mode = _choice(command, 0, {0, 1, 2, 3, 4})
    if mode == 3:
        state.operator_format = _choice(command, 1, {0, 1, 2})
        return Answer()
    was = state.operator_mode
    state.operator_mode = mode
    if mode == 2:
        state.context_active = False
    elif was == 2:
        modem.search_again()
    return Answer()


def _context_up(modem: AtModem) -> bool:
    return modem.state.context_active and modem.is_attached()


def _choice(command: Command, at: int, allowed: set[int]) -> int:
    text = command.values[at] if at < len(command.values) else ""
    if not text.isdecimal() or int(text[:4]) not in allowed:
        raise AtFailed(3)
    return int(text)
