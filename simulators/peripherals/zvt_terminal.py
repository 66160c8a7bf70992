"""A payment terminal that speaks ZVT: its state, its faults, and what it says to each command (PA00P015 rev. 13).

The terminal answers with a script, the APDUs it will send in turn; how they travel (blocks, acknowledgements,
waiting for the register's replies) is left to `zvt_session`. Invariant: status enquiry and, while the register
prints, diagnosis change nothing in `snapshot`.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from device_agent.drivers.zvt.apdu import Apdu, write_llvar, write_tlv
from device_agent.drivers.zvt.messages import CONFIG_REGISTER_PRINTS, EURO, Control
from simulators.peripherals.fault_effects import ZVT_EFFECTS, Cure, ZvtEffect
from simulators.peripherals.peripheral import ChannelKind, FaultSwitches
from simulators.peripherals.zvt_session import Step, ZvtSession

if TYPE_CHECKING:
    from collections.abc import Callable

READY, INITIALISATION_NEEDED, PLEASE_WAIT = 0x00, 0x51, 0x9C
ABORTED_BY_KEY, NOT_POSSIBLE, PRINTER_NOT_READY = 0x6C, 0x83, 0xCC
# Table 17 of PA00P015: connecting, waiting for the host.
_ONLINE, _WAITING_FOR_HOST = 0xF2, 0x04
MAX_KEPT_LINES = 200
_PASSWORD_BYTES = 3


@dataclass(slots=True)
class _State:
    software_version: str = "TM-SIM 2.4.1"
    device_name: str = "TM-SIM PT"
    serial_number: str = "00471102"
    terminal_id: str = "68001234"
    config_byte: int | None = CONFIG_REGISTER_PRINTS
    batch_count: int = 12
    total_minor: int = 34_560
    initialised_count: int = 1
    restart_count: int = 0
    printed_lines: list[str] = field(default_factory=list)


class ZvtTerminal:
    family = "zvt"

    def __init__(
        self,
        *,
        serial_number: str = "00471102",
        host_delay_s: float = 0.2,
        restart_s: float = 0.5,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.lock = threading.RLock()
        self.host_contacts = 0
        self._host_delay_s = host_delay_s
        self._restart_s = restart_s
        self._clock = clock
        self._state = _State(serial_number=serial_number)
        self._switches: FaultSwitches[ZvtEffect] = FaultSwitches(ZVT_EFFECTS, self.lock)

    def open_channel(self, kind: ChannelKind) -> ZvtSession:
        return ZvtSession(self, is_serial=kind is ChannelKind.SERIAL)

    def snapshot(self) -> dict[str, object]:
        with self.lock:
            return {**copy.deepcopy(asdict(self._state)), "faults": sorted(self.faults())}

    def apply_fault(self, name: str) -> None:
        self._switches.apply(name)

    def clear_fault(self, name: str | None = None) -> None:
        self._switches.clear(name)

    def faults(self) -> frozenset[str]:
        return self._switches.names()

    def known_faults(self) -> frozenset[str]:
        return self._switches.known()

    def answer(self, command: Apdu) -> list[Step]:
        """What the terminal sends in answer to the register's command."""
        with self.lock:
            busy = self._is_busy()
            match command.control:
                case Control.STATUS_ENQUIRY:
                    return self._status(command.data)
                case Control.ABORT_FROM_REGISTER:
                    return [Step(Apdu(Control.POSITIVE)), _abort(ABORTED_BY_KEY)]
                case _ if busy:
                    return [Step(Apdu(0x8400 | PLEASE_WAIT))]
                case Control.REGISTRATION:
                    return self._register(command.data)
                case Control.DIAGNOSIS:
                    return self._with_host(self._receipt("DIAGNOSE", "HOST OK"), cure=None)
                case Control.INITIALISATION:
                    return self._with_host(self._receipt("INITIALISIERUNG", "OK"), cure=Cure.INITIALISE)
                case Control.END_OF_DAY:
                    return self._with_host(self._receipt("KASSENSCHNITT", "OK"), cure=Cure.SETTLE)
                case Control.RESET:
                    return self._restart()
                case Control.PRINT_SYSTEM_CONFIGURATION:
                    return self._print_configuration()
                case Control.PRINT_LINE:
                    return self._print_on_own_paper(command.data)
                case Control.LOG_OFF:
                    self._state.config_byte = None
                    return [Step(Apdu(Control.POSITIVE))]
                case _:
                    return [Step(Apdu(0x8400 | NOT_POSSIBLE))]

    def _status(self, data: bytes) -> list[Step]:
        service = data[_PASSWORD_BYTES + 1] if data[_PASSWORD_BYTES : _PASSWORD_BYTES + 1] == b"\x03" else 0
        body = b"" if service & 0x02 else write_llvar(self._state.software_version.encode("ascii"), 3)
        body += bytes([self._status_byte()])
        if service & 0x04:
            device = write_tlv(0x1F40, self._state.device_name.encode("ascii"))
            device += write_tlv(0x1F42, bytes.fromhex(self._state.serial_number))
            body += write_tlv(0x06, write_tlv(0xE4, device))
        return [Step(Apdu(Control.POSITIVE)), Step(Apdu(Control.COMPLETION, body))]

    def _status_byte(self) -> int:
        for effect in self._switches.effects():
            if effect.status is not None:
                return effect.status
        return PLEASE_WAIT if self._is_busy() else READY

    def _is_busy(self) -> bool:
        return any(each.is_payment_running for each in self._switches.effects())

    def _register(self, data: bytes) -> list[Step]:
        if len(data) <= _PASSWORD_BYTES or (len(data) >= 6 and data[4:6] != EURO):
            return [Step(Apdu(0x841E, b"\x6f"))]
        self._state.config_byte = data[_PASSWORD_BYTES]
        self._cure(Cure.REGISTER)
        needs = 0x01 if self._status_byte() == INITIALISATION_NEEDED else 0
        body = bytes([0x19, needs, 0x29]) + bytes.fromhex(self._state.terminal_id) + b"\x49" + EURO
        return [Step(Apdu(Control.POSITIVE)), Step(Apdu(Control.COMPLETION, body))]

    def _with_host(self, receipt: list[str], *, cure: Cure | None) -> list[Step]:
        """A command that contacts the host, and the receipt it ends with."""
        positive = Step(Apdu(Control.POSITIVE))
        effects = self._switches.effects()
        refusal = next((each.refusal for each in effects if each.refusal is not None), None)
        if refusal is not None:
            return [positive, _abort(refusal)]
        self.host_contacts += 1
        contact = [positive]
        if (self._state.config_byte or 0) & 0x08:
            contact.append(Step(Apdu(Control.INTERMEDIATE_STATUS, bytes([_WAITING_FOR_HOST]))))
        failed = next((each.host_result for each in effects if each.host_result is not None), None)
        if failed is not None:
            return [*contact, _abort(failed, after_s=self._host_delay_s)]
        if cure is not None:
            self._cure(cure)
        if cure is Cure.SETTLE:
            self._state.batch_count = self._state.total_minor = 0
        elif cure is Cure.INITIALISE:
            self._state.initialised_count += 1
        now = self._clock()
        moment = b"\xaa" + bytes.fromhex(f"{now:%y%m%d}") + b"\x0c" + bytes.fromhex(f"{now:%H%M%S}")
        return [*contact, Step(Apdu(Control.SET_TIME, moment), after_s=self._host_delay_s), *self._print(receipt)]

    def _print(self, receipt: list[str]) -> list[Step]:
        """Receipt lines and completion, on the register's printer or on our own paper, as registered."""
        completion = Step(Apdu(Control.COMPLETION))
        config = self._state.config_byte or 0
        if config & 0x84 == 0x84:
            lines = [Step(Apdu(Control.PRINT_LINE, b"\x00" + line.encode("cp437"))) for line in receipt]
            return [*lines, Step(Apdu(Control.PRINT_LINE, b"\x81")), completion]
        if config & 0x04:
            return [completion]
        if any(effect.blocks_paper for effect in self._switches.effects()):
            return [_abort(PRINTER_NOT_READY)]
        self._keep(receipt)
        return [completion]

    def _print_configuration(self) -> list[Step]:
        state = self._state
        lines = ["SYSTEMINFO", state.device_name, f"SW {state.software_version}", f"TID {state.terminal_id}"]
        return [Step(Apdu(Control.POSITIVE)), *self._print(lines)]

    def _print_on_own_paper(self, data: bytes) -> list[Step]:
        if any(effect.blocks_paper for effect in self._switches.effects()):
            return [Step(Apdu(0x8400 | PRINTER_NOT_READY))]
        self._keep([data[1:].decode("cp437")])
        return [Step(Apdu(Control.POSITIVE))]

    def _restart(self) -> list[Step]:
        self._state.restart_count += 1
        return [Step(Apdu(Control.POSITIVE)), Step(Apdu(Control.COMPLETION), after_s=self._restart_s)]

    def _receipt(self, title: str, result: str) -> list[str]:
        return [f"* {title} *", f"TID {self._state.terminal_id}", result]

    def _keep(self, lines: list[str]) -> None:
        self._state.printed_lines = [*self._state.printed_lines, *lines][-MAX_KEPT_LINES:]

    def _cure(self, cure: Cure) -> None:
        for name, effect in self._switches.items():
            if effect.cure is cure:
                self._switches.clear(name)


def _abort(result: int, *, after_s: float = 0.0) -> Step:
    return Step(Apdu(Control.ABORT_FROM_TERMINAL, bytes([result])), after_s=after_s)
