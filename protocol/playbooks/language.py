"""A playbook as it is written down (docs/playbooks.md has an example). What the types do not say, `checking` does."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.commands import ActionKind
from protocol.executions import Result
from protocol.identifiers import WireAction
from protocol.parameters import MAX_PARAMETERS, ParamName, ParamValue, Words
from protocol.records import Outcome

MAX_TEXT_BYTES: Final = 64 * 1024
MAX_STEPS: Final = 40
MAX_TIMES: Final = 10
LONGEST_S: Final = 24 * 3600  # what people allow ahead of time holds no longer

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
Code = Annotated[str, Meta(pattern=r"^[a-z0-9]+\.[A-Za-z0-9_.+-]{1,60}$")]
Item = Annotated[str, Meta(min_length=1, max_length=80)]
Seconds = Annotated[int, Meta(ge=1, le=LONGEST_S)]


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sentences for people, in both interface languages."""

    zh: Annotated[str, Meta(min_length=1, max_length=400)]
    en: Annotated[str, Meta(min_length=1, max_length=400)]


class Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``start``: its value, and by that its type. ``asked``: whoever starts the playbook may give another."""

    name: ParamName
    title: Words
    start: ParamValue
    asked: bool = False


class Use(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter whose value is that of a variable."""

    variable: ParamName


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that is said must hold; of a list, one. ``code``: found by any item of the step. ``items``: what each found.
    ``variables``: one of these values; ``above`` and ``below``: numbers.
    """

    verdict: Annotated[list[Outcome], Meta(max_length=5)] = []
    result: Annotated[list[Result], Meta(max_length=9)] = []
    code: Annotated[list[Code], Meta(max_length=32)] = []
    items: Annotated[dict[Item, list[Outcome]], Meta(max_length=16)] = {}
    variables: Annotated[dict[ParamName, list[ParamValue]], Meta(max_length=16)] = {}
    above: Annotated[dict[ParamName, float], Meta(max_length=16)] = {}
    below: Annotated[dict[ParamName, float], Meta(max_length=16)] = {}

    @property
    def tells_of_device(self) -> bool:
        return bool(self.verdict or self.result or self.code or self.items)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The first rule that holds says where to go, a step or an end, and what variables are from then on."""

    go: Name
    when: When | None = None
    set: Annotated[dict[ParamName, ParamValue], Meta(max_length=16)] = {}


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of ``check``, ``test``, ``fix`` (names of actions) and ``wait_s``. ``within_s``: after that it is given up.

    ``times``, ``spent``: of a step that is come back to, how often it is done in one walk and where to go instead of
    doing it once more. ``because``: of a fix that is done although its pre-check passes, why. ``keep``: variables that
    take the value of an item.
    """

    name: Name
    title: Words
    then: Annotated[list[Rule], Meta(min_length=1, max_length=16)]
    check: WireAction | None = None
    test: WireAction | None = None
    fix: WireAction | None = None
    wait_s: Seconds | None = None
    within_s: Seconds | None = None
    params: Annotated[dict[ParamName, ParamValue | Use], Meta(max_length=MAX_PARAMETERS)] = {}
    because: Said | None = None
    keep: Annotated[dict[ParamName, Item], Meta(max_length=16)] = {}
    times: Annotated[int, Meta(ge=1, le=MAX_TIMES)] = 1
    spent: Name | None = None

    @property
    def kind(self) -> ActionKind | None:
        """None of a wait."""
        named = ((ActionKind.CHECK, self.check), (ActionKind.TEST, self.test), (ActionKind.FIX, self.fix))
        return next((kind for kind, action in named if action is not None), None)

    @property
    def action(self) -> str:
        """Empty of a wait."""
        return self.check or self.test or self.fix or ""

    @property
    def longest_s(self) -> int:
        return self.wait_s or self.within_s or 0

    @property
    def targets(self) -> list[str]:
        return [rule.go for rule in self.then] + ([] if self.spent is None else [self.spent])


class EndKind(StrEnum):
    """What a walk comes to. The first three claim something about the terminal, and need a finding for it."""

    FIXED = "fixed"  # something was done, and a check shows that the fault is gone
    NOTHING_WRONG = "nothing_wrong"
    TECHNICIAN = "technician"  # only hands mend it
    HANDOVER = "handover"  # somebody else has to do something: whoever ``to`` says
    UNDECIDED = "undecided"  # a person has to look


class Whom(StrEnum):
    ACQUIRER = "acquirer"
    CARRIER = "carrier"
    SITE = "site"  # whoever keeps the shop's network and its place
    TERMINAL_MANAGEMENT = "terminal_management"


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"kind": "as"}):
    """``cause``: of the fault model. ``parts``: what a technician brings, by the fault model's English names."""

    name: Name
    kind: EndKind
    say: Said
    cause: Annotated[str, Meta(max_length=48)] = ""
    parts: Annotated[list[Annotated[str, Meta(max_length=48)]], Meta(max_length=4)] = []
    to: Whom | None = None


class Playbook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``causes``: that it is made for, by the names of the fault model and of the simulators. ``codes``: open
    faults that suggest it. ``longest_s``: of a whole walk, with all that it waits for. It begins with the first step.
    """

    name: Name
    version: Annotated[int, Meta(ge=1, le=100_000)]
    title: Words
    symptom: Said
    longest_s: Seconds
    steps: Annotated[list[Step], Meta(min_length=1, max_length=MAX_STEPS)]
    ends: Annotated[list[End], Meta(min_length=1, max_length=MAX_STEPS)]
    causes: Annotated[list[Annotated[str, Meta(max_length=48)]], Meta(max_length=32)] = []
    codes: Annotated[list[Code], Meta(max_length=64)] = []
    variables: Annotated[list[Variable], Meta(max_length=16)] = []

    def step(self, name: str) -> Step | None:
        return next((one for one in self.steps if one.name == name), None)

    def end(self, name: str) -> End | None:
        return next((one for one in self.ends if one.name == name), None)

    @property
    def actions(self) -> Sequence[str]:
        """Names of actions, each once, in the order of steps."""
        return tuple(dict.fromkeys(step.action for step in self.steps if step.action))


def same_type(one: ParamValue, other: ParamValue) -> bool:
    """Numbers are numbers; a switch is none."""
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    are_switches = isinstance(one, bool), isinstance(other, bool)
    return are_switches[0] == are_switches[1] and (numbers or isinstance(one, str) == isinstance(other, str))
