"""What an action would do, before it is asked for: change, outage, steps, and what counts as proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet_server.console.moments import Calendar
from fleet_server.console.view_models.actions import offer, pick
from protocol.capabilities import Action
from protocol.commands import SOAK_S, ActionKind, DangerClass


@dataclass(frozen=True, slots=True)
class Preview:
    name: str
    title: str
    icon: str
    danger: str
    what: str  # source text
    explains: str
    takes: str
    kind_is_fix: bool
    may_ask_shop: bool
    outage: str  # empty for none
    steps: list[str]
    post_check: str
    soak: str
    is_offline: bool


def preview(
    device_id: str, action: Action, titles: Mapping[str, str], calendar: Calendar, *, is_offline: bool
) -> Preview:
    button = offer(device_id, action, calendar)
    soak_s = action.soak_s or (SOAK_S if action.post_check else 0.0)
    return Preview(
        name=action.name,
        title=button.title,
        icon=button.icon,
        danger=button.danger,
        what=button.what,
        explains="" if action.explains is None else pick(action.explains, calendar),
        takes=button.takes,
        kind_is_fix=action.kind is ActionKind.FIX,
        may_ask_shop=action.danger_class is DangerClass.CHANGES,
        outage=calendar.span(action.outage_s) if action.outage_s > 0 else "",
        steps=[pick(step.title, calendar) for step in action.steps],
        post_check="" if action.post_check is None else titles.get(action.post_check, action.post_check),
        soak=calendar.span(soak_s) if soak_s > 0 else "",
        is_offline=is_offline,
    )
