"""What may be done with a device, from what it declares: never from a list of the server's own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from fleet_server.console.moments import Calendar
from fleet_server.console.words import CLASS_TWO_WORDS, KINDS
from protocol.capabilities import Action
from protocol.commands import ActionKind, DangerClass
from protocol.parameters import Words


@dataclass(frozen=True, slots=True)
class Offer:
    """One button. ``at_once``: it reads only and wants no values, so one press runs it; else its preview opens."""

    name: str
    kind: ActionKind
    title: str
    icon: str
    danger: str  # class of the button: "", k1, k2
    what: str  # source text: reads only, changes the device
    takes: str
    at_once: bool
    href: str


@dataclass(frozen=True, slots=True)
class Group:
    title: str  # source text
    offers: list[Offer]


def offer(device_id: str, action: Action, calendar: Calendar) -> Offer:
    icon, _, what = KINDS[action.kind]
    if action.danger_class is DangerClass.SOFTWARE:
        icon, what = "two", CLASS_TWO_WORDS
    return Offer(
        name=action.name,
        kind=action.kind,
        title=pick(action.title, calendar),
        icon=icon,
        danger=("", "k1", "k2")[action.danger_class],
        what=what,
        takes=calendar.texts.gettext("about %(span)s") % {"span": calendar.span(max(action.expected_s, 1))},
        at_once=action.kind is ActionKind.CHECK and not action.params,
        href=f"/devices/{device_id}/actions/{quote(action.name, safe='')}",
    )


def groups(device_id: str, actions: Sequence[Action], calendar: Calendar) -> list[Group]:
    made = []
    for kind in ActionKind:
        offers = [offer(device_id, action, calendar) for action in actions if action.kind is kind]
        if offers:
            made.append(Group(KINDS[kind][1], offers))
    return made


def suggested(actions: Sequence[Action], codes: Collection[str]) -> tuple[list[Action], list[Action]]:
    """Fixes that may cure one of ``codes``, and checks or tests that can tell one of them."""
    fixes = [action for action in actions if action.kind is ActionKind.FIX and set(action.cures) & set(codes)]
    finders = [action for action in actions if action.kind is not ActionKind.FIX and set(action.finds) & set(codes)]
    return fixes, finders


def pick(words: Words, calendar: Calendar) -> str:
    return calendar.language.pick(words.zh, words.en)
