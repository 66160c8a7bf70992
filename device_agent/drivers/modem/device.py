"""A cellular modem as the agent sees it.

`poll` and the readings `registration`, `signal`, `sim`, `data_context` only ask. What `poll` does once whenever it
takes the line anew is to set its own AT session up (echo off, numeric errors, cell in +CEREG): settings of the session,
not of the radio, and never done by a check. `scan_networks` occupies the radio, `reregister` and `reset` act.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from device_agent.drivers import line_signs
from device_agent.drivers.attached import AttachedDevice
from device_agent.drivers.line import LineDown
from device_agent.drivers.modem import replies
from device_agent.drivers.modem.replies import Sim
from device_agent.drivers.modem.session import AtSession
from device_agent.drivers.modem.state import CONTEXT, ModemState, faults_of, readings_of
from device_agent.drivers.results import LINE_SILENT_CODE, Answer, FaultSign, Outcome, PollResult
from device_agent.errors import DeviceNotAnswering

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from device_agent.drivers.port import PortOpener
    from protocol.safety import Condition

# 27.007 gives no bound for a scan; makers' manuals say up to 180 s. Activation: 150 s.
SCAN_S = 180.0
ACTIVATE_S = 150.0
FUNCTION_S = 15.0
REGISTER_S = 90.0
_REGISTER_POLL_S = 1.0
# Quality of the radio each tenth poll, who it is each sixtieth: five short commands are cheap, twelve are not.
RADIO_EVERY = 10
IDENTITY_EVERY = 60


class ModemDevice(AttachedDevice):
    family = "modem"

    def __init__(self, open_port: PortOpener, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(open_port, monotonic=monotonic)
        self._session = AtSession(self._line)
        self._is_prepared = False
        self._polls = 0
        self._state = ModemState()

    def conditions(self) -> frozenset[Condition]:
        """A modem by itself is never in the middle of a payment."""
        return frozenset()

    def poll(self, now: datetime) -> PollResult[ModemState]:
        try:
            state = self._read_state()
        except (DeviceNotAnswering, LineDown) as error:
            self._forget()
            faults = frozenset({line_signs.silent(str(error))}) | line_signs.noise_signs(self._line)
            return PollResult(now, False, self._line.readings(), faults, ModemState(), self._line.statistics)
        readings = {**self._line.readings(), **readings_of(state)}
        if self._firmware is not None:
            readings["sys.firmware_ver"] = self._firmware
        faults = frozenset(faults_of(state)) | line_signs.noise_signs(self._line)
        return PollResult(now, True, readings, faults, state, self._line.statistics)

    def identity_text(self) -> str:
        """Its IMEI; empty when it does not tell."""
        try:
            imei = replies.parse_digits(self._session.run("AT+CGSN").lines, shortest=15, longest=15)
        except LineDown as error:
            raise DeviceNotAnswering(str(error)) from error
        return imei or ""

    def registration(self) -> Answer:
        return self._ask("AT+CEREG?", self._read_registration)

    def signal(self) -> Answer:
        return self._ask("AT+CSQ, AT+CESQ", self._read_radio)

    def sim(self) -> Answer:
        def read() -> ModemState:
            state = self._read_sim(ModemState())
            return self._read_identity(state) if state.sim is Sim.READY else state

        return self._ask("AT+CPIN?", read)

    def data_context(self) -> Answer:
        return self._ask(
            "AT+CGATT?, AT+CGACT?, AT+CGPADDR",
            lambda: self._read_apn(self._read_address(self._read_context(self._read_registration()))),
        )

    def scan_networks(self, *, timeout_s: float = SCAN_S) -> Answer:
        """Test: the modem leaves its channel to listen; the operators it hears, one a line."""
        try:
            reply = self._session.run("AT+COPS=?", timeout_s)
        except (DeviceNotAnswering, LineDown) as error:
            return _unanswered(error)
        if not reply.is_ok:
            return _refused("AT+COPS=?", reply.cme)
        found = replies.parse_scan(reply.lines)
        lines = tuple(f"{each.numeric} {each.name} {each.access or '?'} status {each.status}" for each in found)
        return Answer(Outcome.DONE, None, f"{len(found)} networks heard", {"networks": len(found)}, lines)

    def reregister(self, *, timeout_s: float = REGISTER_S) -> Answer:
        """Fix: radio off and on (CFUN 4, 1), waits for the network, then for the data context."""
        try:
            for command in ("AT+CFUN=4", "AT+CFUN=1"):
                reply = self._session.run(command, FUNCTION_S)
                if not reply.is_ok:
                    return _refused(command, reply.cme)
            state = self._await_registration(timeout_s)
            if state.registration is None or not state.registration.is_registered:
                signs = faults_of(state)
                shown = "; ".join(sign.evidence for sign in signs)
                return Answer(Outcome.REFUSED, _first_code(signs), f"not registered within {timeout_s:g} s: {shown}")
            return self._activate()
        except (DeviceNotAnswering, LineDown) as error:
            return _unanswered(error)

    def reset(self) -> Answer:
        """Fix: restarts the whole modem (CFUN 1,1); it comes back by itself and `poll` prepares its session again."""
        self._is_prepared = False
        try:
            reply = self._session.run("AT+CFUN=1,1", FUNCTION_S)
        except (DeviceNotAnswering, LineDown) as error:
            return _unanswered(error)
        return Answer(Outcome.DONE, None, "restarting") if reply.is_ok else _refused("AT+CFUN=1,1", reply.cme)

    def _activate(self) -> Answer:
        state = self._read_context(ModemState())
        if not state.is_context_active:
            command = f"AT+CGACT=1,{CONTEXT}"
            reply = self._session.run(command, ACTIVATE_S)
            if not reply.is_ok:
                return _refused(command, reply.cme)
            state = self._read_context(ModemState())
        if not state.is_context_active:
            return Answer(Outcome.REFUSED, "term.NET_NO_PDP", "registered, data context stays down")
        return Answer(Outcome.DONE, None, "registered, data context up", readings_of(state))

    def _await_registration(self, timeout_s: float) -> ModemState:
        deadline_s = self._line.now_s() + timeout_s
        while True:
            state = self._read_sim(self._read_registration())
            ready = state.registration is not None and state.registration.is_registered
            left_s = deadline_s - self._line.now_s()
            if ready or left_s <= 0 or state.sim_error is not None:
                return state
            # What comes meanwhile is unasked results; the pause is the line's own wait.
            self._session.listen(min(_REGISTER_POLL_S, left_s))

    def _ask(self, asked: str, read: Callable[[], ModemState]) -> Answer:
        try:
            state = read()
        except (DeviceNotAnswering, LineDown) as error:
            return _unanswered(error)
        signs = faults_of(state)
        evidence = "; ".join(sign.evidence for sign in signs) or asked
        return Answer(Outcome.DONE, _first_code(signs), evidence, readings_of(state))

    def _read_state(self) -> ModemState:
        """The cheap questions each time, the others from time to time; between them their last answers hold."""
        reopened = self._line.statistics.reopened
        if not self._is_prepared or not self._line.is_open:
            self._forget()
            self._session.prepare()
            self._is_prepared = True
        state = self._read_context(self._read_sim(self._read_registration(self._state)))
        state = self._read_radio(state) if self._polls % RADIO_EVERY == 0 else self._read_csq(state)
        if state.sim is not Sim.READY:
            state = state.with_values(iccid=None, operator=None)
        elif self._polls % IDENTITY_EVERY == 0 or self._state.sim is not Sim.READY:
            # Another card may have been put in.
            state = self._read_apn(self._read_identity(state))
        if self._is_firmware_due():
            self._firmware = replies.parse_revision(self._session.run_if_known("AT+CGMR"))
        self._polls += 1
        self._state = state
        if self._session.has_lost_settings or self._line.statistics.reopened != reopened:
            self._is_prepared = False
        return state

    def _read_registration(self, state: ModemState | None = None) -> ModemState:
        state = state or ModemState()
        reply = self._session.run("AT+CEREG?")
        found = replies.parse_registration(reply.lines, "+CEREG:")
        if found is None:
            reply = self._session.run("AT+CREG?")
            found = replies.parse_registration(reply.lines, "+CREG:")
        return state.with_values(registration=found)

    def _read_sim(self, state: ModemState) -> ModemState:
        reply = self._session.run("AT+CPIN?")
        sim = replies.parse_sim(reply.lines, reply.cme)
        return state.with_values(sim=sim, sim_error=None if sim in {Sim.READY, None} else reply.cme or sim_error(sim))

    def _read_context(self, state: ModemState) -> ModemState:
        attached = replies.parse_attach(self._session.run("AT+CGATT?").lines)
        active = replies.parse_context_active(self._session.run("AT+CGACT?").lines, CONTEXT)
        return state.with_values(is_attached=attached, is_context_active=active)

    def _read_address(self, state: ModemState) -> ModemState:
        """A context that is up but has no address carries nothing."""
        if not state.is_context_active:
            return state
        address = replies.parse_address(self._session.run(f"AT+CGPADDR={CONTEXT}").lines, CONTEXT)
        return state.with_values(is_context_active=address is not None)

    def _read_csq(self, state: ModemState) -> ModemState:
        return state.with_values(csq=replies.parse_csq(self._session.run("AT+CSQ").lines))

    def _read_radio(self, state: ModemState | None = None) -> ModemState:
        state = self._read_csq(state or ModemState())
        rsrq_db, rsrp_dbm = replies.parse_cesq(self._session.run("AT+CESQ").lines)
        sinr_db = replies.parse_sinr(self._session.run_if_known('AT+QENG="servingcell"'))
        return state.with_values(rsrq_db=rsrq_db, rsrp_dbm=rsrp_dbm, sinr_db=sinr_db)

    def _read_identity(self, state: ModemState) -> ModemState:
        imei = replies.parse_digits(self._session.run("AT+CGSN").lines, shortest=15, longest=15)
        iccid = replies.parse_digits(self._session.run("AT+CCID").lines, shortest=19, longest=20)
        if iccid is None:
            iccid = replies.parse_digits(self._session.run_if_known("AT+QCCID"), shortest=19, longest=20)
        operator = replies.parse_operator(self._session.run("AT+COPS?").lines)
        return state.with_values(imei=imei, iccid=iccid, operator=operator)

    def _read_apn(self, state: ModemState) -> ModemState:
        return state.with_values(apn=replies.parse_apn(self._session.run("AT+CGDCONT?").lines, CONTEXT))

    def _forget(self) -> None:
        self._is_prepared = False
        self._polls = 0
        self._state = ModemState()
        self._forget_firmware()


def sim_error(sim: Sim | None) -> int | None:
    """The error number that says the same as an answer of +CPIN."""
    return {Sim.PIN: 11, Sim.PUK: 12}.get(sim) if sim is not None else None


def _first_code(signs: tuple[FaultSign, ...]) -> str | None:
    return signs[0].code if signs else None


def _refused(command: str, cme: int | None) -> Answer:
    reason = "ERROR" if cme is None else f"+CME ERROR {cme}"
    return Answer(Outcome.REFUSED, None if cme is None else f"cme.{cme}", f"{command}: {reason}")


def _unanswered(error: DeviceNotAnswering | LineDown) -> Answer:
    outcome = Outcome.LINE_DOWN if isinstance(error, LineDown) else Outcome.NO_ANSWER
    return Answer(outcome, LINE_SILENT_CODE, str(error))
