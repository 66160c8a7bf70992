"""How a check, test or fix is declared: the allow-list of what this agent can do, and nothing else.

Each lives in a file of its own under ``checks/`` or ``fixes/``, declared by `check`, `visible_test` or `fix`. What the
server shows (titles, parameters, units, class) is the declared `protocol.capabilities.Action`; what the agent runs are
the functions beside it. Functions run on the worker thread of the device they concern, may block up to their declared
timeout, and are handed everything they need in an `ActionContext`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Required, TypedDict, Unpack

from protocol.capabilities import Action, Step, StepNature
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

    def progress(self, percent: int, note: str = "") -> None: ...
    def is_cancelled(self) -> bool: ...


CheckFunction = Callable[[ActionContext], Sequence[Finding]]
StepFunction = Callable[[ActionContext], None]
# Whether the step's effect is there, asked after a crash; None: cannot be told.
ProbeFunction = Callable[[ActionContext], bool | None]


@dataclass(frozen=True, slots=True)
class StepDefinition:
    declared: Step
    run: StepFunction
    probe: ProbeFunction | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """One action: what is declared to the server, for which driver families, and what is run."""

    declared: Action
    families: frozenset[str]
    effect: Effect
    run: CheckFunction | None = None
    steps: tuple[StepDefinition, ...] = ()


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


def check(name: str, **look: Unpack[Look]) -> Callable[[CheckFunction], Definition]:
    """Declares a check: class 0, reads and changes nothing."""
    return _looking(name, ActionKind.CHECK, DangerClass.READS, Effect.READS, {"timeout_s": 30.0, **look})


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
    )
    return lambda run: Definition(declared, frozenset(look["families"]), effect, run)


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
) -> Definition:
    """Declares a fix: class 1; success means that ``post_check`` passes and still does after the soak."""
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
    )
    return Definition(declared, frozenset(families), effect, steps=tuple(steps))


_WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.WARN, Outcome.PASS, Outcome.UNSUPPORTED)


def overall(findings: Sequence[Finding]) -> Outcome:
    """The worst outcome; a check that found nothing at all could not be told."""
    present = {finding.outcome for finding in findings}
    return next((outcome for outcome in _WORST_FIRST if outcome in present), Outcome.ERROR)
