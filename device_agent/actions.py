"""How a check, test or fix is declared: the allow-list of what this agent can do, and nothing else.

Each lives in a file of its own under ``checks/`` or ``fixes/``, declared by `check`, `visible_test` or `fix`. What the
server shows (titles, parameters, units, class) is the declared `protocol.capabilities.Action`; what the agent runs are
the functions beside it. Functions run on the worker thread of the device they concern, may block up to their declared
timeout, and are handed everything they need in an `ActionContext`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Required, TypedDict, Unpack

import msgspec

from protocol.capabilities import REPEATABLE, Action, Step, StepNature
from protocol.commands import SOAK_S, ActionKind, DangerClass
from protocol.identifiers import CodeId
from protocol.parameters import Parameter, ParamValue, Words
from protocol.records import Limits, Outcome, Sample
from protocol.safety import Effect


@dataclass(frozen=True, slots=True)
class Finding:
    """What one item of a check found. The verdict of the whole is its worst outcome."""

    outcome: Outcome
    item: str = ""
    value: Sample = None
    unit: str = ""
    limits: Limits | None = None
    evidence: str = ""
    codes: tuple[CodeId, ...] = ()


class ActionContext(Protocol):
    """What an action may use. ``device`` is the driver's device object of the declared family."""

    @property
    def device(self) -> Any: ...
    @property
    def params(self) -> Mapping[str, ParamValue]: ...
    @property
    def terminal_class(self) -> str: ...
    @property
    def trusted_ms(self) -> int:
        """Trusted clock now, Unix milliseconds."""

    @property
    def boot(self) -> str:
        """Id of the present boot of the device's host: changes with a reboot."""

    @property
    def boot_before(self) -> str:
        """The boot when the execution began, from the journal; empty when not known. A probe compares with it."""

    def monotonic(self) -> float:
        """Seconds that never go back, of the clock by which the action waits."""

    def sleep(self, seconds: float) -> None: ...
    def progress(self, percent: int, note: str = "") -> None: ...
    def is_cancelled(self) -> bool: ...


CheckFunction = Callable[[ActionContext], Sequence[Finding]]
StepFunction = Callable[[ActionContext], None]
# Whether the step's effect is there, asked after a crash; None: cannot be told.
ProbeFunction = Callable[[ActionContext], bool | None]


# Of a test, what the device says before it that will tell afterwards whether it ran; empty: nothing does.
MarkFunction = Callable[[ActionContext], str]
# What it found if it ran since that mark, nothing (empty) if it did not; None: cannot be told.
SinceFunction = Callable[[ActionContext, str], Sequence[Finding] | None]


@dataclass(frozen=True, slots=True)
class StepDefinition:
    declared: Step
    run: StepFunction
    probe: ProbeFunction | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """One action: what is declared to the server, for which driver families, and what is run. ``may_repeat``: a test
    that does no harm when it is done twice; one that was interrupted is begun again. Of any other ``since`` is asked,
    with what ``mark`` had told before; one without them ends unknown.
    """

    declared: Action
    families: frozenset[str]
    effect: Effect
    run: CheckFunction | None = None
    steps: tuple[StepDefinition, ...] = ()
    may_repeat: bool = False
    mark: MarkFunction | None = None
    since: SinceFunction | None = None


def step(
    name: str, *, zh: str, en: str, nature: StepNature, run: StepFunction, probe: ProbeFunction | None = None
) -> StepDefinition:
    return StepDefinition(Step(name, Words(zh, en), nature), run, probe)


class Look(TypedDict, total=False):
    """What a check and a test are declared with, beside their name."""

    zh: Required[str]
    en: Required[str]
    families: Required[Sequence[str]]
    expected_s: Required[float]
    timeout_s: float
    params: Sequence[Parameter]
    unit: str
    explains: Words
    finds: Sequence[str]
    retries: int
    may_repeat: bool
    mark: MarkFunction
    since: SinceFunction


def check(name: str, **look: Unpack[Look]) -> Callable[[CheckFunction], Definition]:
    """Declares a check: class 0, reads and changes nothing."""
    look = {"timeout_s": 30.0, "retries": CHECK_RETRIES, **look}
    return _looking(name, ActionKind.CHECK, DangerClass.READS, Effect.READS, look)


def visible_test(
    name: str, *, effect: Effect = Effect.VISIBLE, **look: Unpack[Look]
) -> Callable[[CheckFunction], Definition]:
    """Declares a test: class 1, visible or costly, gives a verdict. What it does is explained."""
    if "explains" not in look:
        raise TypeError(f"{name}: expected 'explains', a test is seen or costs something")
    return _looking(name, ActionKind.TEST, DangerClass.CHANGES, effect, {"timeout_s": 60.0, **look})


def _looking(
    name: str, kind: ActionKind, danger_class: DangerClass, effect: Effect, look: Look
) -> Callable[[CheckFunction], Definition]:
    declared = Action(
        name=name,
        kind=kind,
        title=Words(look["zh"], look["en"]),
        danger_class=danger_class,
        expected_s=look["expected_s"],
        timeout_s=look["timeout_s"],
        params=list(look.get("params", ())),
        unit=look.get("unit", ""),
        explains=look.get("explains"),
        finds=list(look.get("finds", ())),
        retries=look.get("retries", 0),
    )
    after_a_crash = {"may_repeat": look.get("may_repeat", False), "mark": look.get("mark"), "since": look.get("since")}
    return lambda run: Definition(declared, frozenset(look["families"]), effect, run, **after_a_crash)  # type: ignore[arg-type]  # fields of one shape in `Look`


def fix(
    name: str,
    *,
    zh: str,
    en: str,
    families: Sequence[str],
    expected_s: float,
    explains: Words,
    pre_check: str,
    post_check: str,
    steps: Sequence[StepDefinition],
    effect: Effect,
    timeout_s: float = 300.0,
    soak_s: float = SOAK_S,
    outage_s: float = 0.0,
    params: Sequence[Parameter] = (),
    cures: Sequence[str] = (),
    retries: int | None = None,
) -> Definition:
    """Declares a fix: class 1; success means that ``post_check`` passes and still does after the soak."""
    # One, where each step may be repeated, unless it is said.
    repeatable = all(one.declared.nature in REPEATABLE for one in steps)
    declared = Action(
        name=name,
        kind=ActionKind.FIX,
        title=Words(zh, en),
        danger_class=DangerClass.CHANGES,
        expected_s=expected_s,
        timeout_s=timeout_s,
        params=list(params),
        explains=explains,
        outage_s=outage_s,
        pre_check=pre_check,
        post_check=post_check,
        steps=[one.declared for one in steps],
        soak_s=soak_s,
        cures=list(cures),
        retries=int(repeatable) if retries is None else retries,
    )
    return Definition(declared, frozenset(families), effect, steps=tuple(steps))


def installing(definition: Definition) -> Definition:
    """The same fix as one of software: class 2, with what two people signed among its parameters."""
    declared = msgspec.structs.replace(definition.declared, danger_class=DangerClass.SOFTWARE)
    return replace(definition, declared=declared)


# A check that nobody answered is tried so often again.
CHECK_RETRIES = 2
_WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.WARN, Outcome.PASS, Outcome.UNSUPPORTED)


def overall(findings: Sequence[Finding]) -> Outcome:
    """The worst outcome; a check that found nothing at all could not be told."""
    present = {finding.outcome for finding in findings}
    return next((outcome for outcome in _WORST_FIRST if outcome in present), Outcome.ERROR)
