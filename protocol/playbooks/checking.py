"""What the types of a playbook do not say: names fit together, it ends whatever happens, and it claims only what it
found. With a list of actions: that there are such, of that kind and with such parameters.

All that is wrong is told at once, each as one sentence: step, key, expected, came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from protocol.capabilities import Action
from protocol.catalogue import codes, faults
from protocol.commands import DangerClass
from protocol.executions import Result
from protocol.parameters import ParamError, ParamValue, check_params
from protocol.playbooks.language import End, EndKind, Playbook, Rule, Step, Use, When, same_type
from protocol.records import Outcome

_CLAIMS = frozenset({EndKind.FIXED, EndKind.NOTHING_WRONG, EndKind.TECHNICIAN})
_GOOD = frozenset({EndKind.FIXED, EndKind.NOTHING_WRONG})
_MAX_RUNS = 100


class PlaybookInvalid(ValueError):
    """``place``: the file's name. Its text is one line for each thing that is wrong."""

    code = "playbook_invalid"

    def __init__(self, place: str, wrong: Sequence[str]) -> None:
        super().__init__("\n".join(f"{place}: {one}" for one in wrong))
        self.wrong = tuple(wrong)


def check(playbook: Playbook, place: str = "") -> Playbook:
    """The same playbook. Raises `PlaybookInvalid`."""
    wrong = [*_names(playbook), *_steps(playbook), *_codes(playbook), *_ends(playbook)]
    # Ways are followed only between names that are there.
    wrong = wrong or [*_ways(playbook), *_claims(playbook)]
    if wrong:
        raise PlaybookInvalid(place or playbook.name, wrong)
    return playbook


def check_actions(playbook: Playbook, known: Mapping[str, Action]) -> list[str]:
    """What does not fit ``known`` actions, as sentences."""
    return [
        sentence
        for index, step in enumerate(playbook.steps)
        if step.kind is not None
        for sentence in _of_action(_at(index, step), step, known)
    ]


def highest_class(playbook: Playbook, known: Mapping[str, Action]) -> DangerClass:
    """Of those of its steps that are among ``known``."""
    classes = [known[step.action].danger_class for step in playbook.steps if step.action in known]
    return max(classes, default=DangerClass.READS)


def _at(index: int, step: Step) -> str:
    return f"steps[{index}] {step.name}"


def _says(where: str, expected: str, came: object) -> str:
    return f"{where}: expected {expected}, came {str(came)[:60]!r}"


def _names(playbook: Playbook) -> Iterator[str]:
    places = Counter([*(one.name for one in playbook.steps), *(one.name for one in playbook.ends)])
    for name, count in places.items():
        if count > 1:
            yield _says(f"name {name}", "a name of one step or end", f"{count} of them")
    for name, count in Counter(one.name for one in playbook.variables).items():
        if count > 1:
            yield _says("variables", "each name once", name)
    for index, step in enumerate(playbook.steps):
        for target in step.targets:
            if target not in places:
                yield _says(_at(index, step), "the name of a step or end to go to", target)


def _steps(playbook: Playbook) -> Iterator[str]:
    for index, step in enumerate(playbook.steps):
        at = _at(index, step)
        acts = [one for one in (step.check, step.test, step.fix, step.wait_s) if one is not None]
        if len(acts) != 1:
            yield _says(at, "one of check, test, fix, wait_s", f"{len(acts)} of them")
            continue
        if step.kind is not None and step.within_s is None:
            yield _says(at, "within_s, after how many seconds it is given up", "none")
        if step.kind is None and (step.within_s is not None or step.params or step.keep):
            yield _says(at, "a wait without within_s, params and keep", "some")
        if step.because is not None and step.fix is None:
            yield _says(f"{at}.because", "a fix that is done although its pre-check passes", step.action)
        if step.longest_s > playbook.longest_s:
            yield _says(at, f"at most longest_s ({playbook.longest_s})", step.longest_s)
        yield from _variables_of(playbook, at, step)
        yield from _rules(at, step)


def _variables_of(playbook: Playbook, at: str, step: Step) -> Iterator[str]:
    known = {one.name: one for one in playbook.variables}
    # What a device said must never come back to it, or to another part of it, as an order.
    told = {name for one in playbook.steps for name in one.keep}
    for name, value in step.params.items():
        if isinstance(value, Use) and value.variable not in known:
            yield _says(f"{at}.params.{name}", _one_of(known), value.variable)
        elif isinstance(value, Use) and value.variable in told:
            yield _says(f"{at}.params.{name}", "a variable that no step keeps what a device said in", value.variable)
    for name in step.keep:
        if name not in known:
            yield _says(f"{at}.keep", _one_of(known), name)
    for number, rule in enumerate(step.then):
        yield from _variables_of_rule(starts_of(playbook), f"{at}.then[{number}]", rule)


def starts_of(playbook: Playbook) -> dict[str, ParamValue]:
    return {one.name: one.start for one in playbook.variables}


def _variables_of_rule(starts: Mapping[str, ParamValue], at: str, rule: Rule) -> Iterator[str]:
    when = rule.when or When()
    for name in (*rule.set, *when.variables, *when.above, *when.below):
        if name not in starts:
            yield _says(at, _one_of(starts), name)
    values = [(name, value) for name, value in rule.set.items()]
    values += [(name, value) for name, allowed in when.variables.items() for value in allowed]
    values += [(name, limit) for limits in (when.above, when.below) for name, limit in limits.items()]
    for name, value in values:
        if name in starts and not same_type(starts[name], value):
            yield _says(f"{at} {name}", f"a value like {starts[name]!r}", value)


def _rules(at: str, step: Step) -> Iterator[str]:
    for number, rule in enumerate(step.then):
        is_last = number == len(step.then) - 1
        if rule.when is None and not is_last:
            yield _says(f"{at}.then[{number}]", "a 'when', for the rules after it are never reached", "none")
        if rule.when is not None and is_last:
            yield _says(f"{at}.then[{number}]", "no 'when' in the last rule: what if none holds", "one")
        if rule.when is not None and step.kind is None and rule.when.tells_of_device:
            yield _says(f"{at}.then[{number}].when", "variables only, a wait finds nothing", "more")


def _codes(playbook: Playbook) -> Iterator[str]:
    named = [("codes", playbook.codes)]
    for index, step in enumerate(playbook.steps):
        whens = [(number, rule.when) for number, rule in enumerate(step.then) if rule.when is not None]
        named += [(f"{_at(index, step)}.then[{number}].when.code", when.code) for number, when in whens]
    for at, some in named:
        yield from (_says(at, "a code of the catalogue", code) for code in some if codes.get(code) is None)


def _ends(playbook: Playbook) -> Iterator[str]:
    model = faults.load()
    parts = {part for cause in model.causes.values() for part in cause.fix.parts}
    for index, end in enumerate(playbook.ends):
        at = f"ends[{index}] {end.name}"
        if end.cause and end.cause not in model.causes:
            yield _says(f"{at}.cause", "a cause of the fault model", end.cause)
        for part in end.parts:
            if part not in parts:
                yield _says(f"{at}.parts", "a part of the fault model", part)
        if (end.kind is EndKind.TECHNICIAN) != bool(end.parts):
            yield _says(f"{at}.parts", "the parts that a technician brings, and only there", end.parts)
        if (end.kind is EndKind.HANDOVER) != (end.to is not None):
            yield _says(f"{at}.to", "whom it is handed over to, and only there", end.to)


def _ways(playbook: Playbook) -> Iterator[str]:
    steps = {step.name: step for step in playbook.steps}
    ways = {name: set(step.targets) for name, step in steps.items()}
    reached = _reached(ways, playbook.steps[0].name) | {playbook.steps[0].name}
    for index, step in enumerate(playbook.steps):
        at = _at(index, step)
        if step.name not in reached:
            yield _says(at, "a way to it from the first step", "none")
        is_in_loop = step.name in _reached(ways, step.name)
        if is_in_loop and step.spent is None:
            yield _says(f"{at}.spent", "where to go when it was done 'times' times, for it is come back to", "none")
        if not is_in_loop and (step.spent is not None or step.times > 1):
            yield _says(f"{at}.times", "no times and spent: it is never come back to", step.times)
    for index, end in enumerate(playbook.ends):
        if end.name not in reached:
            yield _says(f"ends[{index}] {end.name}", "a way to it from the first step", "none")
    spent = {name: {step.spent} for name, step in steps.items() if step.spent is not None}
    for name in sorted(steps):
        if name in _reached(spent, name):
            yield _says(f"step {name}.spent", "a way out of the loop", "a way back into it")
    runs = sum(step.times for step in playbook.steps)
    if runs > _MAX_RUNS:
        yield _says("steps", f"at most {_MAX_RUNS} of them done in one walk", runs)


def _reached(ways: Mapping[str, Iterable[str]], start: str) -> set[str]:
    """What can be come to from ``start`` by one way or more."""
    found: set[str] = set()
    waiting = list(ways.get(start, ()))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(ways.get(name, ()))
    return found


def _claims(playbook: Playbook) -> Iterator[str]:
    for index, step in enumerate(playbook.steps):
        at = _at(index, step)
        for number, rule in enumerate(step.then):
            end = playbook.end(rule.go)
            if end is not None and end.kind in _CLAIMS and not _is_shown(end, rule.when):
                needs = "a verdict pass, or a result fixed" if end.kind in _GOOD else "a finding"
                yield _says(f"{at}.then[{number}].when", f"{needs} to end as {end.kind}", "none")
        end = None if step.spent is None else playbook.end(step.spent)
        if end is not None and end.kind in _GOOD:
            yield _says(f"{at}.spent", f"no end as {end.kind}: nothing was found", end.name)


def _is_shown(end: End, when: When | None) -> bool:
    """Of a visit: that something was found; of a good end: that something passed, or was proved fixed."""
    if when is None or not when.tells_of_device:
        return False
    if end.kind not in _GOOD:
        return True
    passed = bool(when.verdict) and set(when.verdict) <= {Outcome.PASS}
    fixed = bool(when.result) and set(when.result) <= {Result.FIXED}
    items = bool(when.items) and all(outcomes == [Outcome.PASS] for outcomes in when.items.values())
    return passed or fixed or items


def _of_action(at: str, step: Step, known: Mapping[str, Action]) -> Iterator[str]:
    action = known.get(step.action)
    if action is None:
        yield _says(at, "an action that a terminal declares", step.action)
        return
    if action.kind is not step.kind:
        yield _says(at, f"a {step.kind}", f"{step.action}, which is a {action.kind}")
    if action.danger_class is DangerClass.SOFTWARE:
        yield _says(at, "class 0 or 1: a playbook names no artifact that people sign for", step.action)
    declared = {one.name for one in action.params}
    for name in sorted(step.params.keys() - declared):
        yield _says(f"{at}.params", f"parameters of {step.action}", name)
    fixed = {name: value for name, value in step.params.items() if not isinstance(value, Use)}
    named = [one for one in action.params if not isinstance(step.params.get(one.name), Use)]
    checked = check_params(named, {name: value for name, value in fixed.items() if name in declared})
    yield from (f"{at}.params.{one}" for one in (checked if isinstance(checked, list) else ()))


def check_given(playbook: Playbook, given: Mapping[str, ParamValue]) -> list[ParamError]:
    """What is wrong with the variables that somebody starts it with."""
    asked = {one.name: one for one in playbook.variables if one.asked}
    wrong = [ParamError(name, _one_of(asked), "an unknown name") for name in given if name not in asked]
    for name, value in given.items():
        if name in asked and not same_type(asked[name].start, value):
            wrong.append(ParamError(name, f"a value like {asked[name].start!r}", repr(value)[:60]))
    return wrong


def given_from_text(playbook: Playbook, texts: Iterable[tuple[str, str] | Sequence[str]]) -> dict[str, ParamValue]:
    """Names and values as typed: a value is taken for what its variable starts as, and for text where it is none."""
    starts = starts_of(playbook)
    return {name: _typed(starts.get(name), text) for name, text in texts}


def _typed(start: ParamValue | None, text: str) -> ParamValue:
    if isinstance(start, bool):
        return {"true": True, "false": False}.get(text, text)
    if isinstance(start, int | float):
        try:
            return type(start)(text)
        except ValueError:
            return text
    return text


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(sorted(names))}" if names else "no variable, for none is declared"
