"""Runs the real agent on simulated terminals in this process and records what it reports: no broker, server or root.

Each terminal gets an agent of its own: core, spool, drivers, checks and fixes, as `device_agent.bootstrap` puts them
together; only the link ends in `RecordingLink`. Asking and waiting may be done from any thread.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from protocol.catalogue import codes
from protocol.commands import ActionKind
from protocol.executions import FINAL
from simulators.demo.agent_files import agent_configuration
from simulators.testing.errors import ActionUnknown, NotSeen
from simulators.testing.recording_link import TENANT, Keys, RecordingLink
from simulators.testing.reports import Reports, SeenFault, SeenVerdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from device_agent.bootstrap import Agent
    from device_agent.runner import EventQueue
    from protocol.capabilities import Action
    from protocol.parameters import ParamValue
    from protocol.records import ExecutionReport, Sample
    from simulators.testing.bench_terminal import BenchTerminal

AnswerT = TypeVar("AnswerT")

POLL_S: Final = 0.2
SOAK_LIMIT_S: Final = 1.0
# Beyond what a fault must last before it counts. Machines in CI are slow and noisy.
WAIT_S: Final = 30.0
START_S: Final = 30.0
_STOP_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class ActionResult:
    """``state`` is how far it came (SUCCEEDED, FAILED …), ``outcome`` what was found (pass, warn, fail …)."""

    action: str
    state: str
    outcome: str
    code: str
    detail: str
    verdicts: tuple[SeenVerdict, ...]

    @property
    def succeeded(self) -> bool:
        return self.state == "SUCCEEDED"


@dataclass(frozen=True, slots=True)
class _Watched:
    terminal: BenchTerminal
    device: str
    agent: Agent
    link: RecordingLink
    thread: threading.Thread


class Recorder:
    def __init__(self) -> None:
        self._reports = Reports()
        self._watched: list[_Watched] = []

    @property
    def faults(self) -> tuple[SeenFault, ...]:
        """Those that are open now."""
        return self._reports.open_faults()

    @property
    def past_faults(self) -> tuple[SeenFault, ...]:
        return tuple(fault for fault in self._reports.all_faults() if not fault.is_open)

    @property
    def readings(self) -> dict[str, Sample]:
        """The newest value of each metric that a terminal of this test has reported."""
        return {name: value for one in self._watched for name, value in self._reports.readings(one.device).items()}

    @property
    def verdicts(self) -> tuple[SeenVerdict, ...]:
        return self._reports.verdicts()

    def watch(self, terminal: BenchTerminal) -> None:
        """Starts an agent that reads the terminal; answers when it has introduced itself."""
        from device_agent.bootstrap import build
        from device_agent.config import load

        keys = Keys()
        device = f"{terminal.key}-recorded"
        config = load(_write_files(terminal, device, keys))
        links: list[RecordingLink] = []

        def make_link(_config: object, _link: object, events: EventQueue) -> RecordingLink:
            links.append(RecordingLink(keys, self._reports, events.put))
            return links[0]

        agent = build(config, make_link=make_link)
        thread = threading.Thread(target=agent.run, name=f"agent-{terminal.key}", daemon=True)
        thread.start()
        self._watched.append(_Watched(terminal, device, agent, links[0], thread))
        if not links[0].greeted.wait(START_S):
            raise NotSeen(f"the agent of {terminal.key} did not introduce itself within {START_S:g} s")

    def stop(self) -> None:
        for one in self._watched:
            one.agent.stop()
        for one in self._watched:
            one.thread.join(_STOP_S)
        self._watched.clear()

    def wait_for_fault(
        self, code: str, terminal: BenchTerminal | None = None, *, within_s: float | None = None
    ) -> SeenFault:
        """The open fault of this code. Raises `NotSeen` (an AssertionError) that says what is open instead."""

        def found() -> SeenFault | None:
            fault = self._reports.fault(self._device(terminal), code)
            return fault if fault is not None and fault.is_open else None

        return self._waited(found, f"fault {code}", within_s, code)

    def wait_until_cleared(
        self, code: str, terminal: BenchTerminal | None = None, *, within_s: float | None = None
    ) -> SeenFault:
        """The fault of this code, which was seen and is over."""

        def cleared() -> SeenFault | None:
            fault = self._reports.fault(self._device(terminal), code)
            return None if fault is None or fault.is_open else fault

        return self._waited(cleared, f"the end of fault {code}", within_s, code)

    def wait_for_reading(self, metric: str, *, within_s: float | None = None) -> Sample:
        def measured() -> tuple[Sample] | None:
            value = self.readings.get(metric)
            return None if value is None else (value,)

        return self._waited(measured, f"a reading of {metric}", within_s, "")[0]

    def run_check(self, terminal: BenchTerminal, action: str, **params: ParamValue) -> ActionResult:
        """A check or test that the terminal declares, run by the agent on a signed command."""
        return self._run(terminal, action, params, {ActionKind.CHECK, ActionKind.TEST}, is_needed_only=True)

    def run_fix(
        self, terminal: BenchTerminal, action: str, *, is_needed_only: bool = True, **params: ParamValue
    ) -> ActionResult:
        """A fix with its pre- and post-check. ``is_needed_only``: not run when its pre-check finds nothing wrong."""
        return self._run(terminal, action, params, {ActionKind.FIX}, is_needed_only=is_needed_only)

    def _run(
        self,
        terminal: BenchTerminal,
        action: str,
        params: dict[str, ParamValue],
        kinds: set[ActionKind],
        *,
        is_needed_only: bool,
    ) -> ActionResult:
        watched = self._of(terminal)
        declared = self._declared(watched, action, kinds)
        execution = watched.link.command(watched.device, declared, params, skip_if_passing=is_needed_only)

        def ended() -> ExecutionReport | None:
            report = self._reports.execution(execution)
            return report if report is not None and report.state in FINAL else None

        limit_s = WAIT_S + declared.timeout_s + declared.outage_s
        report = self._waited(ended, f"the end of {action}", limit_s, "")
        return ActionResult(
            action=action,
            state=report.state.value,
            outcome=report.outcome.value if report.outcome is not None else "",
            code=report.code,
            detail=report.detail,
            verdicts=self._reports.verdicts(execution),
        )

    def _declared(self, watched: _Watched, action: str, kinds: set[ActionKind]) -> Action:
        declared = watched.link.action(watched.device, action)
        if declared is None or declared.kind not in kinds:
            known = ", ".join(watched.link.actions(watched.device))
            words = " or ".join(sorted(kind.value for kind in kinds))
            raise ActionUnknown(f"expected a {words} of {watched.terminal.key}, came {action!r}; it has: {known}")
        return declared

    def _of(self, terminal: BenchTerminal) -> _Watched:
        for one in self._watched:
            if one.terminal is terminal:
                return one
        raise NotSeen(f"{terminal.key} is not recorded: ask for the recorder and the terminal in the same test")

    def _device(self, terminal: BenchTerminal | None) -> str | None:
        return None if terminal is None else self._of(terminal).device

    def _waited(self, answer: Callable[[], AnswerT | None], what: str, within_s: float | None, code: str) -> AnswerT:
        meaning = codes.get(code)
        debounce_s = meaning.visible_after_s if meaning is not None else 0
        limit_s = WAIT_S + debounce_s if within_s is None else within_s
        found = self._reports.wait_until(answer, limit_s)
        if found is None:
            raise NotSeen(f"waited {limit_s:g} s in vain for {what}; {self._situation(debounce_s)}")
        return found

    def _situation(self, debounce_s: float) -> str:
        open_codes = ", ".join(sorted(fault.code for fault in self.faults)) or "none"
        terminals = [one.terminal for one in self._watched]
        broken = ", ".join(f"{one.key}: {' '.join(sorted(one.faults())) or 'well'}" for one in terminals)
        held = f"; such a fault counts after {debounce_s:g} s" if debounce_s else ""
        return f"open faults: {open_codes}; simulated: {broken or 'nothing yet'}{held}"


def _write_files(terminal: BenchTerminal, device: str, keys: Keys) -> Path:
    """The agent's configuration and the part of an enrolment that needs no broker."""
    bundle = terminal.folder / "agent"
    bundle.mkdir(parents=True, exist_ok=True)
    link = f"{terminal.key}-recorded-gateway" if terminal.is_attached else device
    enrolment = {
        "link": link,
        "tenant": TENANT,
        "broker": {"host": "recorder.invalid", "port": 8883},
        "root_public": keys.root.public_hex,
        "attached": {terminal.line_name: device} if terminal.is_attached else {},
        "terminal_class": terminal.terminal_class,
        "model": terminal.model,
    }
    (bundle / "enrolment.json").write_text(json.dumps(enrolment), "utf-8")
    (bundle / "policy.json").write_bytes(keys.signed_policy())
    configuration = bundle / "agent.toml"
    text = agent_configuration(terminal.link(), bundle, terminal.lines, POLL_S, SOAK_LIMIT_S)
    configuration.write_text(text, "utf-8")
    return configuration
