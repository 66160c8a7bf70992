"""Everything that a device page shows, put together from the domains' services.

One place for the page and for the stream that renews its parts, so that both always say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from statistics import median

from fleet_server.console.frame import Frame
from fleet_server.console.live_readings import LiveReadings
from fleet_server.console.moments import Moment
from fleet_server.console.services import Services
from fleet_server.console.view_models.actions import Group, groups, pick
from fleet_server.console.view_models.charts import Period
from fleet_server.console.view_models.codes import CodeText, code_text
from fleet_server.console.view_models.device import (
    FaultRow,
    Identity,
    Lead,
    fault_rows,
    has_to_wait,
    identity,
    lead,
)
from fleet_server.console.view_models.fleet import condition_shape
from fleet_server.console.view_models.keeping import Keeping, keeping
from fleet_server.console.view_models.playbooks import Offer, offer
from fleet_server.console.view_models.readings import Latest, Points, Report, any_out, report
from fleet_server.console.view_models.run import Run, run_view
from fleet_server.console.view_models.timeline import FILTERS, Entry, entries
from fleet_server.console.words import Shape
from fleet_server.devices.models import Device
from fleet_server.devices.service import DeviceAtSite
from fleet_server.executions.repository import ExecutionFilters
from fleet_server.faults.models import Fault
from fleet_server.health.service import Point
from fleet_server.ingest.standing import standing_of
from fleet_server.timeline.models import Event
from protocol.capabilities import Action

TIMELINE_LIMIT = 40
MAX_TIMELINE_PAGES = 5
ENOUGH_LINES = 15
SUGGESTED = 2
COURSE = timedelta(hours=8)
# A spark is 112 px wide: more points than half of that are not seen.
COURSE_POINTS = 56
# A hole this many times the usual distance between two samples is a gap, not a slow report.
_GAP_STEPS = 3


@dataclass(frozen=True, slots=True)
class AttachedRow:
    id: str
    label: str
    model: str
    line: str
    state: Shape
    finding: CodeText | None
    seen: Moment | None


@dataclass(frozen=True, slots=True)
class TimelinePart:
    entries: list[Entry]
    earlier: str  # address of the next page, or empty
    chosen: str
    filters: Mapping[str, str]
    is_newest: bool


class DeviceParts:
    """Reads on demand: what a page does not show is not asked for."""

    def __init__(self, services: Services, frame: Frame, device_id: str) -> None:
        self._services = services
        self._frame = frame
        self._id = device_id

    @cached_property
    def at_site(self) -> DeviceAtSite:
        return self._services.devices.get(self._id)

    @cached_property
    def actions(self) -> Sequence[Action]:
        declared = self._services.devices.capabilities(self._id)
        return () if declared is None else declared.actions

    @cached_property
    def titles(self) -> dict[str, str]:
        """Of actions, by the name they are declared under."""
        return {action.name: pick(action.title, self._frame.calendar) for action in self.actions}

    @cached_property
    def open_faults(self) -> Sequence[Fault]:
        return self._services.faults.open_of(self._id)

    @property
    def is_offline(self) -> bool:
        return has_to_wait(self.at_site.device, self._gateway(self.at_site.device))

    def playbooks(self) -> list[Offer]:
        """Those that the open faults suggest, the best first."""
        codes = [fault.code for fault in self.open_faults]
        found = self._services.playbooks.offered(self._id, codes) if codes else ()
        return [offer(one, self._frame.calendar) for one in found if one.suggested_by][:SUGGESTED]

    def who(self) -> Identity:
        device = self.at_site.device
        since = self._frame.calendar.now - timedelta(days=2)
        heard = self._services.devices.heard_since([self._id], since).get(self._id, ())
        return identity(self.at_site, heard, self._frame.calendar, self._gateway(device))

    def lead(self, *, live: LiveReadings | None = None) -> Lead:
        device = self.at_site.device
        latest: Sequence[Latest] = self._services.health.latest(self._id)
        if live is not None:
            latest = live.over(latest, self._frame.calendar.now)
        is_deviating = any_out(latest, device.terminal_class)
        return lead(device, self.open_faults, self.actions, self._frame.calendar, is_deviating=is_deviating)

    def faults(self) -> list[FaultRow]:
        calendar = self._frame.calendar
        flapping = self._services.faults.flapping(self._id, calendar.now) if self.open_faults else {}
        return fault_rows(self.open_faults, calendar, flapping)

    def shown_readings(self, *, is_whole: bool = False) -> frozenset[str]:
        """Metrics that the page shows, without what is dear about them."""
        latest = self._services.health.latest(self._id)
        terminal_class = self.at_site.device.terminal_class
        shown = report(latest, {}, terminal_class, self._frame.calendar, is_whole=is_whole).shown
        return frozenset(reading.metric for reading in shown)

    def health(self, *, is_whole: bool = False, live: LiveReadings | None = None) -> Report:
        """The course is read only of what is shown: it is by far the dearest part of the page."""
        now = self._frame.calendar.now
        latest: Sequence[Latest] = self._services.health.latest(self._id)
        if live is None:
            return self._health(latest, is_whole=is_whole)
        made = self._health(live.over(latest, now), is_whole=is_whole)
        live.shown = frozenset(reading.metric for reading in made.shown)
        return replace(made, live=live.mark(now))

    def _health(self, latest: Sequence[Latest], *, is_whole: bool) -> Report:
        now = self._frame.calendar.now
        terminal_class = self.at_site.device.terminal_class
        plain = report(latest, {}, terminal_class, self._frame.calendar, is_whole=is_whole)
        shown = {reading.metric for reading in plain.shown}
        if not shown:
            return plain
        period = Period(now - COURSE, now)
        found = self._services.health.range(self._id, shown, period.begin, period.end, COURSE_POINTS)
        courses = {metric: course(points) for metric, points in found.items()}
        wanted = [row for row in latest if row.metric in shown]
        drawn = report(wanted, courses, terminal_class, self._frame.calendar, is_whole=True, period=period)
        by_metric = {reading.metric: reading for reading in [*drawn.out, *drawn.rest]}
        return replace(
            plain,
            out=[by_metric.get(reading.metric, reading) for reading in plain.out],
            rest=[by_metric.get(reading.metric, reading) for reading in plain.rest],
        )

    def timeline(self, chosen: str, cursor: str | None = None) -> TimelinePart:
        chosen = chosen if chosen in FILTERS else ""
        events: list[Event] = []
        shown: list[Entry] = []
        following = cursor
        # A run leaves dozens of events and is one line: read on until there is something to look at.
        for _ in range(MAX_TIMELINE_PAGES):
            found = self._services.timeline.page(self._id, FILTERS[chosen][1], following, TIMELINE_LIMIT)
            events += found.items
            following = found.next
            shown = entries(events, self._frame.calendar, self.titles)
            if following is None or len(shown) >= ENOUGH_LINES:
                break
        earlier = ""
        if following is not None:
            earlier = f"/devices/{self._id}?types={chosen}&before={following}#tlh"
        return TimelinePart(
            entries=shown,
            earlier=earlier,
            chosen=chosen,
            filters={key: name for key, (name, _) in FILTERS.items()},
            is_newest=cursor is None,
        )

    def attached(self) -> list[AttachedRow]:
        if self.at_site.device.kind == "attached":
            return []
        rows = [one.device for one in self._services.devices.attached_to(self._id)]
        return [self._attached_row(device) for device in rows]

    def keeping(self) -> Keeping | None:
        """None for a device without an agent of its own: its gateway keeps its records."""
        if self.at_site.device.link_id != self._id:
            return None
        standing = standing_of(self._services.session, self._services.tenant_id, self._id, self._frame.calendar.now)
        told = self._services.timeline.gap_states(self._id)
        return keeping(self._services.health.latest(self._id), standing, told, self._frame.calendar)

    def latest_run(self, *, has_news: bool = False) -> Run | None:
        newest = self._services.executions.list(ExecutionFilters(device=self._id), None, 1).items
        if not newest:
            return None
        events = self._services.timeline.of_execution(newest[0].id)
        return run_view(newest[0], events, self._frame.calendar, self.titles, has_news=has_news)

    def groups(self) -> list[Group]:
        return groups(self._id, self.actions, self._frame.calendar)

    def _gateway(self, device: Device) -> Device | None:
        is_attached = device.kind == "attached" and device.link_id != device.id
        return self._services.devices.get(device.link_id).device if is_attached else None

    def _attached_row(self, device: Device) -> AttachedRow:
        calendar = self._frame.calendar
        return AttachedRow(
            id=device.id,
            label=calendar.language.pick(device.label_zh, device.label_en),
            model=device.model,
            line=device.line or "",
            state=condition_shape(device.condition),
            finding=code_text(device.worst_code, calendar.language) if device.worst_code else None,
            seen=calendar.ago(device.last_seen_at),
        )


def course(points: Sequence[Point]) -> Points:
    """Numbers only, with an empty point in each gap, so that no line bridges it."""
    numbers = [(at, float(value)) for at, value in points if not isinstance(value, str)]
    if len(numbers) < 2:
        return numbers
    usual = median((later[0] - earlier[0]).total_seconds() for earlier, later in pairwise(numbers))
    made: list[tuple[datetime, float | None]] = [numbers[0]]
    for earlier, later in pairwise(numbers):
        if (later[0] - earlier[0]).total_seconds() > _GAP_STEPS * max(usual, 1.0):
            made.append((earlier[0] + (later[0] - earlier[0]) / 2, None))
        made.append(later)
    return made
