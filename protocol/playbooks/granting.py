"""What people allow when they allow a playbook: each of its steps that changes something, with just the parameters that
it can have. A document of exactly these grants for one device is a shift permit like any other: signer and terminal
judge each command by it, and a playbook that was changed since is not covered.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from protocol.authorisations import MAX_GRANTS, Grant
from protocol.capabilities import Action
from protocol.commands import DangerClass
from protocol.parameters import ParamValue, check_params
from protocol.playbooks.language import Playbook, Step, Use


def grants_of(playbook: Playbook, given: Mapping[str, ParamValue], known: Mapping[str, Action]) -> list[Grant]:
    """At most `MAX_GRANTS`, with defaults filled in as commands carry them; steps that a device lacks need none."""
    values = _values(playbook, given)
    found: dict[str, Grant] = {}
    for step in _changing(playbook, known):
        action = known[step.action]
        choices = [values[one.variable] if isinstance(one, Use) else [one] for one in step.params.values()]
        for chosen in product(*choices):
            params = check_params(list(action.params), dict(zip(step.params, chosen, strict=True)))
            if isinstance(params, dict):
                found[f"{step.action} {sorted(params.items())}"] = Grant(step.action, params)
    return list(found.values())[:MAX_GRANTS]


def uses_of(playbook: Playbook, known: Mapping[str, Action]) -> int:
    """How often a walk may change something at most."""
    return sum(step.times for step in _changing(playbook, known))


def _changing(playbook: Playbook, known: Mapping[str, Action]) -> list[Step]:
    return [
        step
        for step in playbook.steps
        if step.action in known and known[step.action].danger_class is DangerClass.CHANGES
    ]


def _values(playbook: Playbook, given: Mapping[str, ParamValue]) -> dict[str, list[ParamValue]]:
    """Every value that a variable can have, those kept from devices left out: no parameter takes them."""
    found = {one.name: [given.get(one.name, one.start)] for one in playbook.variables}
    for step in playbook.steps:
        for rule in step.then:
            for name, value in rule.set.items():
                if value not in found[name]:
                    found[name].append(value)
    return found
