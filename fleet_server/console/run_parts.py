"""Everything that the page of one run shows; for the page and for the stream that renews it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fleet_server.console.frame import Frame
from fleet_server.console.moments import Moment
from fleet_server.console.services import Services
from fleet_server.console.view_models.actions import pick
from fleet_server.console.view_models.fleet import place_name
from fleet_server.console.view_models.run import declared_action, run_view, shape_of
from fleet_server.console.words import KINDS, Shape
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.service import DeviceAtSite
from fleet_server.executions.models import Execution
from fleet_server.executions.repository import ExecutionFilters
from fleet_server.kit.pagination import DEFAULT_LIMIT
from protocol.commands import ActionKind


class RunParts:
    def __init__(self, services: Services, run_id: str) -> None:
        self._services = services
        self.execution = services.executions.get(run_id)

    @cached_property
    def at_site(self) -> DeviceAtSite:
        return self._services.devices.get(self.execution.device_id)

    @property
    def timezone(self) -> str:
        return self.at_site.site.timezone

    def values(self, frame: Frame, *, has_news: bool = False) -> dict[str, Any]:
        declared = self._services.devices.capabilities(self.execution.device_id)
        actions = [] if declared is None else declared.actions
        titles = {action.name: pick(action.title, frame.calendar) for action in actions}
        events = self._services.timeline.of_execution(self.execution.id)
        device = self.at_site.device
        return {
            "run": run_view(self.execution, events, frame.calendar, titles, has_news=has_news),
            "place": place_name(device, self.at_site.site, frame.calendar),
            "number": device.terminal_id or device.serial_number,
        }


@dataclass(frozen=True, slots=True)
class RunRow:
    id: str
    title: str
    state: Shape
    place: str
    kind: str  # source text
    asked_by: str
    asked_at: Moment | None


def run_list(services: Services, frame: Frame, cursor: str | None) -> tuple[list[RunRow], str | None]:
    """Newest first, fifty a page, with the cursor of the next one."""
    found = services.executions.list(ExecutionFilters(), cursor, DEFAULT_LIMIT)
    return run_rows(services, frame, found.items), found.next


def run_rows(services: Services, frame: Frame, executions: Sequence[Execution]) -> list[RunRow]:
    places: dict[str, str] = {}
    for execution in executions:
        if execution.device_id not in places:
            places[execution.device_id] = _place(services, frame, execution.device_id)
    return [_row(execution, places[execution.device_id], frame) for execution in executions]


def _place(services: Services, frame: Frame, device_id: str) -> str:
    try:
        at_site = services.devices.get(device_id)
    except DeviceNotFound:
        # A retired device keeps its history, not its page.
        return device_id
    return place_name(at_site.device, at_site.site, frame.calendar)


def _row(execution: Execution, place: str, frame: Frame) -> RunRow:
    declared = declared_action(execution.declared)
    kind = next((one for one in ActionKind if one.value == execution.kind), ActionKind.CHECK)
    return RunRow(
        id=execution.id,
        title=execution.action if declared is None else pick(declared.title, frame.calendar),
        state=shape_of(execution, kind),
        place=place,
        kind=KINDS[kind][1],
        asked_by=execution.actor,
        asked_at=frame.calendar.ago(execution.created_at),
    )
