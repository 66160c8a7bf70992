"""The terminal as the agent sees it: polls its service, and offers each of the service's calls as a method.

One connection, one request at a time, on one worker thread. A connection that breaks, an answer that does not come in
time or an answer that cannot be read closes the connection; the next call opens a new one, so a late answer is never
taken for the answer to a later question. Raises `DeviceNotAnswering` when no usable answer came and `ActionFailed` when
the service refused; `poll` never raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import msgspec

from device_agent.drivers.line import Line, LineDown
from device_agent.drivers.network_target import NetworkTarget
from device_agent.drivers.port import PortOpener
from device_agent.drivers.results import SERVICE_SILENT_CODE, FaultSign, LineStatistics, PollResult, Reading
from device_agent.drivers.terminal import messages, wire
from device_agent.drivers.terminal.signs import signs_of, signs_of_app
from device_agent.errors import ActionFailed, DeviceNotAnswering
from protocol.codec import UNREADABLE
from protocol.safety import Condition

CALL_TIMEOUT_S = 3.0
# The modem's own search takes up to two minutes (27.007 gives no bound; carriers' modules document 120 s to 180 s).
SCAN_TIMEOUT_S = 180.0
# Sign-in and printing wait for a host or for paper to move.
SLOW_TIMEOUT_S = 30.0
PROBE_TIMEOUT_S = 25.0
BATTERY_LOW_PCT = 20
# How a service refuses a call that it does not have.
UNKNOWN_CALL = "unknown_call"

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class TerminalState:
    """None: the service did not answer."""

    description: messages.Description | None = None
    safety: messages.Safety | None = None
    app: messages.AppStatus | None = None
    queue: messages.QueueStatus | None = None
    conditions: frozenset[Condition] = frozenset()


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


class TerminalDevice:
    family = "terminal"
    silent_code = SERVICE_SILENT_CODE

    def __init__(
        self,
        open_port: PortOpener,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        target: NetworkTarget | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = Line(open_port, monotonic=monotonic)
        self._reader = wire.reply_reader()
        self._timeout_s = timeout_s
        self._target = target or NetworkTarget()
        self._number = 0

    @property
    def line_statistics(self) -> LineStatistics:
        return self._line.statistics

    def close(self) -> None:
        self._line.close()

    def poll(self, now: datetime) -> PollResult[TerminalState]:
        """One round of questions; the first that is not answered ends the round."""
        try:
            description = self.describe()
            readings = self.readings()
            own_signs = self.signs()
            safety, app, queue = self.safety(), self.app_status(), self.queue_status()
        except (DeviceNotAnswering, ActionFailed) as error:
            silent = frozenset({FaultSign(SERVICE_SILENT_CODE, str(error)[:200])})
            return PollResult(now, False, {}, silent, TerminalState(), self._line.statistics)
        state = TerminalState(description, safety, app, queue, _conditions(safety, readings))
        faults = signs_of(readings) | signs_of_app(app, queue) | own_signs
        return PollResult(now, True, readings, _one_each(faults), state, self._line.statistics)

    def describe(self) -> messages.Description:
        return self._ask("describe", messages.Description)

    def boot(self) -> str:
        return self.describe().boot

    def identity_text(self) -> str:
        return self.describe().serial_number

    def readings(self) -> Mapping[str, Reading]:
        return self._ask("readings", dict[str, Reading], messages.Readings)

    def signs(self) -> frozenset[FaultSign]:
        signs = self._ask("signs", list[messages.Sign], messages.Signs)
        return frozenset(FaultSign(sign.code, sign.evidence) for sign in signs)

    def safety(self) -> messages.Safety:
        return self._ask("safety", messages.Safety)

    def conditions(self) -> frozenset[Condition]:
        """What the terminal is in the middle of, for the table of `protocol.safety`."""
        return _conditions(self.safety(), self.readings())

    def app_status(self) -> messages.AppStatus:
        return self._ask("app_status", messages.AppStatus)

    def app_restart(self) -> None:
        self._order("app_restart")

    def queue_status(self) -> messages.QueueStatus:
        return self._ask("queue_status", messages.QueueStatus)

    def queue_send(self) -> None:
        self._order("queue_send")

    def logs_status(self) -> messages.LogsStatus:
        return self._ask("logs_status", messages.LogsStatus)

    def logs_purge(self) -> None:
        self._order("logs_purge")

    def clock_get(self) -> messages.ClockReading:
        return self._ask("clock_get", messages.ClockReading)

    def clock_set(self, wall_ms: int) -> None:
        self._order("clock_set", wall_ms=wall_ms)

    def modem_reregister(self) -> None:
        self._order("modem_reregister", timeout_s=SLOW_TIMEOUT_S)

    def config_get(self) -> Mapping[str, str]:
        return self._ask("config_get", dict[str, str], messages.ConfigValues)

    def config_set(self, name: str, value: str) -> None:
        self._order("config_set", name=name, value=value)

    def reboot(self) -> None:
        self._order("reboot")

    def print_test(self, lines: Sequence[str]) -> messages.PrintResult:
        return self._ask("print_test", messages.PrintResult, timeout_s=SLOW_TIMEOUT_S, lines=list(lines))

    def show_to_merchant(self, lines: Sequence[str]) -> None:
        """On the screen; on paper where the service has no call for it. Raises when neither can be read."""
        try:
            self._order("show_text", lines=list(lines))
        except ActionFailed as refused:
            if refused.reason != UNKNOWN_CALL:
                raise
            result = self.print_test(lines)
            if not result.printed:
                raise ActionFailed("not_printed", f"print: {result.status}") from refused

    def network_scan(self) -> messages.NetworkScan:
        return self._ask("network_scan", messages.NetworkScan, timeout_s=SCAN_TIMEOUT_S)

    def sign_in(self) -> messages.SignInResult:
        return self._ask("sign_in", messages.SignInResult, timeout_s=SLOW_TIMEOUT_S)

    def settle(self) -> messages.SettleResult:
        return self._ask("settle", messages.SettleResult, timeout_s=SLOW_TIMEOUT_S)

    def software_status(self, kind: str) -> messages.SoftwareStatus:
        return self._ask("software_status", messages.SoftwareStatus, of=kind)

    def software_begin(self, kind: str, sha256: str, length: int) -> messages.StagedBytes:
        return self._ask("software_begin", messages.StagedBytes, of=kind, sha256=sha256, length=length)

    def software_write(self, kind: str, offset: int, data: str) -> messages.StagedBytes:
        """``data``: in base64."""
        return self._ask("software_write", messages.StagedBytes, of=kind, offset=offset, data=data)

    def software_activate(self, kind: str, sha256: str) -> None:
        """Runs it on trial: the terminal goes back by itself when nobody keeps it."""
        self._order("software_activate", timeout_s=SLOW_TIMEOUT_S, of=kind, sha256=sha256)

    def software_keep(self, kind: str) -> None:
        self._order("software_keep", of=kind)

    def software_give_up(self, kind: str) -> None:
        self._order("software_give_up", timeout_s=SLOW_TIMEOUT_S, of=kind)

    def storage(self) -> messages.Storage:
        return self._ask("storage", messages.Storage)

    def memory(self) -> messages.Memory:
        return self._ask("memory", messages.Memory)

    def certificate(self) -> messages.Certificate:
        return self._ask("certificate", messages.Certificate)

    def log_tail(self, lines: int) -> messages.LogTail:
        return self._ask("log_tail", messages.LogTail, lines=lines)

    def net_probe(self, host: str, port: int) -> messages.NetProbe:
        """Empty host and port 0: the acquirer host that the terminal itself is set to.

        A service that cannot probe leaves it to this machine's own sockets: the agent runs on the terminal.
        """
        try:
            return self._ask("net_probe", messages.NetProbe, timeout_s=PROBE_TIMEOUT_S, host=host, port=port)
        except ActionFailed as refused:
            if refused.reason != UNKNOWN_CALL:
                raise
        from device_agent.adapters.network_probe import probe_target

        return probe_target(self._target, host, port)

    def _order(self, call: str, *, timeout_s: float | None = None, **args: object) -> None:
        self._exchange(call, args, timeout_s)

    def _ask(
        self, call: str, kind: type[ValueT], bounds: Any = None, *, timeout_s: float | None = None, **args: object
    ) -> ValueT:
        """``bounds``: ``kind`` with its limits, where they do not belong to the type itself."""
        raw = self._exchange(call, args, timeout_s)
        shape: Any = bounds or kind
        try:
            value: ValueT = _decoder(shape).decode(raw)
        except UNREADABLE as error:
            raise DeviceNotAnswering(f"{call}: answer cannot be used: {str(error)[:120]}") from error
        return value

    def _exchange(self, call: str, args: Mapping[str, object], timeout_s: float | None) -> msgspec.Raw:
        self._number = self._number % wire.MAX_ID + 1
        number = self._number
        self._line.begin_exchange()
        try:
            if not self._line.is_open:
                self._reader.reset()
            self._line.write(wire.encode_request(number, call, args))
            reply = self._await_reply(number, self._line.now_s() + (timeout_s or self._timeout_s))
        except LineDown as error:
            raise DeviceNotAnswering(f"{call}: {error}") from error
        if reply is None:
            self._line.count_timeout()
            self._line.close()
            raise DeviceNotAnswering(f"{call}: no answer in {timeout_s or self._timeout_s:g} s")
        if not reply.ok:
            raise ActionFailed(reply.code or "refused", f"{call}: {reply.detail[:160] or 'refused'}")
        return reply.value

    def _await_reply(self, number: int, deadline_s: float) -> wire.Reply | None:
        while (left_s := deadline_s - self._line.now_s()) > 0:
            chunk = self._line.read(left_s)
            for event in self._reader.feed(chunk):
                if isinstance(event, wire.LineNoise):
                    self._line.count_frames(bad=1, noise_bytes=event.size_bytes)
                    continue
                self._line.count_frames(good=1)
                if event.id == number:
                    return event
        return None


def _conditions(safety: messages.Safety, readings: Mapping[str, Reading]) -> frozenset[Condition]:
    level = readings.get("batt.level_pct")
    is_battery_low = isinstance(level, int | float) and level < BATTERY_LOW_PCT and not readings.get("power.plugged")
    present = (
        (Condition.TRANSACTION_RUNNING, safety.transaction_running),
        (Condition.BATCH_OPEN, safety.batch_open),
        (Condition.PAYMENTS_UNSENT, safety.payments_unsent),
        (Condition.REVERSALS_PENDING, safety.reversals_pending),
        (Condition.CANNOT_TRADE, not safety.can_trade),
        (Condition.BATTERY_LOW, is_battery_low),
    )
    return frozenset(condition for condition, holds in present if holds)


def _one_each(signs: frozenset[FaultSign]) -> frozenset[FaultSign]:
    """One sign a code: the service's own words win over what its readings show."""
    by_code: dict[str, FaultSign] = {}
    for sign in sorted(signs, key=lambda each: ("=" in each.evidence, each.evidence)):
        by_code.setdefault(sign.code, sign)
    return frozenset(by_code.values())
