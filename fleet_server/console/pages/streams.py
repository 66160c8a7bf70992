"""The live side of the fleet, a device and a run: parts of the open page, renewed as events are recorded."""

import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from itertools import count
from math import inf
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from fleet_server.assignments.watching import of_assigned
from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs, while_let_in
from fleet_server.auth.roles import Permission
from fleet_server.auth.sessions import ConsoleSession
from fleet_server.console.device_parts import DeviceParts
from fleet_server.console.frame import Frame, fragment, make_frame
from fleet_server.console.live import LiveSide, Renew, partial, stream
from fleet_server.console.live_readings import LiveReadings, asks_until
from fleet_server.console.pages.fleet import rows_of
from fleet_server.console.run_parts import RunParts
from fleet_server.console.services import Services, services_for
from fleet_server.console.view_models.fleet import census
from fleet_server.console.walk_parts import WalkParts
from fleet_server.db import reading
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.service import DeviceAtSite
from fleet_server.kit.times import utc_now
from fleet_server.live.hub import LiveUpdate, Watched
from fleet_server.stream_places import ONE_STREAM_OF_A_PAGE
from fleet_server.timeline.hub import EventFilter, EventRow

router = APIRouter(include_in_schema=False, dependencies=[console_needs(Permission.EVENTS_READ)])

# Which parts of a device's page an event may change; the timeline changes with every one.
_PARTS = {
    "presence": ("device_head", "lead", "actions", "attached", "keeping"),
    "gap": ("keeping",),
    "fault_raised": ("device_head", "lead", "faults", "playbooks"),
    "fault_cleared": ("device_head", "lead", "faults", "playbooks"),
    "execution": ("run_panel",),
    "verdict": ("run_panel",),
    "reading": ("health", "lead"),
    "capabilities": ("lead", "actions", "playbooks"),
}
_TARGETS = {"device_head": "#device-head", "run_panel": "#run-panel"}
# On the beat: times that grow, and what the devices on a gateway say. Values that came without an event follow on every
# third, because their course is dear to draw.
_ON_BEAT = frozenset({"device_head", "lead", "faults", "attached"})
_HEALTH_EVERY = 3
# What may change a row of the fleet page.
_ROW_EVENTS = frozenset({"presence", "fault_raised", "fault_cleared"})


def start_after(
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
    last_event_id: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=2**62)] = None,
) -> int:
    """Where the browser was cut off; at first the newest event when the page was made."""
    return after if last_event_id is None else last_event_id


StartAfter = Annotated[int, Depends(start_after)]


@router.get("/fleet/stream", dependencies=[ONE_STREAM_OF_A_PAGE])
def fleet_stream(request: Request, session: ConsoleSessionDep, after_id: StartAfter) -> Response:
    tenant_id = session.actor.tenant_id

    def renew(burst: Sequence[EventRow]) -> str:
        frame = make_frame(request, session, "fleet")
        changed = {event.device_id for event in burst if event.type in _ROW_EVENTS}
        html = [_beat(frame)]
        if changed:
            with reading(request.app.state.engine, session.actor.reach) as database:
                html += _fleet_parts(services_for(request, database, session.actor), frame, changed)
        return "".join(html)

    return _stream(request, EventFilter(tenant_id), after_id, renew)


@router.get("/devices/{device_id}/stream", dependencies=[ONE_STREAM_OF_A_PAGE])
def device_stream(
    request: Request,
    session: ConsoleSessionDep,
    after_id: StartAfter,
    device_id: Annotated[str, Path(max_length=64)],
    types: Annotated[str, Query(max_length=20)] = "",
    opened: Annotated[int, Query(ge=0, le=2**36)] = 0,
    still: bool = False,  # noqa: FBT001, FBT002 - a switch in the address
    whole: bool = False,  # noqa: FBT001, FBT002 - a switch in the address
) -> Response:
    """``still``: no timeline or an older page of it is shown. ``whole``: all readings are shown. ``opened``: when the
    page was loaded, in Unix seconds; a browser that comes back by itself does not make it younger.
    """
    watching = _Watching(request, session, device_id, opened, is_whole=whole)
    live, beats = watching.readings, count(1)

    def renew(burst: Sequence[EventRow]) -> str:
        frame = watching.frame()
        wanted = {name for event in burst for name in _PARTS.get(event.type, ())}
        if not burst:
            wanted |= _ON_BEAT
            wanted |= {"health", "keeping"} if next(beats) % _HEALTH_EVERY == 0 and not whole else set()
        with reading(request.app.state.engine, session.actor.reach) as database:
            parts = DeviceParts(services_for(request, database, session.actor), frame, device_id)
            html = _device_parts(parts, frame, wanted, burst, watching)
            if burst and not still:
                timeline = parts.timeline(types)
                values = {"who": parts.who(), "timeline": timeline, "arrived": burst[-1].id}
                html.append(partial("#timeline", fragment(frame, "parts/timeline_list.html", **values)))
        return "".join([_beat(frame), *html, live.settle(frame)])

    where = EventFilter(session.actor.tenant_id, device_id=device_id)
    return _stream(request, where, after_id, renew, watching.live_side())


@router.get("/runs/{run_id}/stream", dependencies=[ONE_STREAM_OF_A_PAGE])
def run_stream(
    request: Request, session: ConsoleSessionDep, after_id: StartAfter, run_id: Annotated[str, Path(max_length=64)]
) -> Response:
    with reading(request.app.state.engine, session.actor.reach) as database:
        zone = RunParts(services_for(request, database, session.actor), run_id).timezone
    told = _Told()

    def renew(burst: Sequence[EventRow]) -> str | None:
        if told.is_final and not burst:
            return None
        frame = make_frame(request, session, "runs", zone=zone)
        with reading(request.app.state.engine, session.actor.reach) as database:
            parts = RunParts(services_for(request, database, session.actor), run_id)
            has_news = any(event.type == "verdict" for event in burst)
            values = parts.values(frame, has_news=has_news)
            told.is_final = parts.execution.is_final
        return _beat(frame) + partial("#run", fragment(frame, "parts/run_body.html", **values))

    where = EventFilter(session.actor.tenant_id, execution_id=run_id)
    return _stream(request, where, after_id, renew)


@router.get("/walks/{walk_id}/stream", dependencies=[ONE_STREAM_OF_A_PAGE])
def walk_stream(
    request: Request, session: ConsoleSessionDep, after_id: StartAfter, walk_id: Annotated[str, Path(max_length=64)]
) -> Response:
    with reading(request.app.state.engine, session.actor.reach) as database:
        parts = WalkParts(services_for(request, database, session.actor), walk_id)
        zone, device_id = parts.timezone, parts.read.row.device_id
    told = _Told()

    def renew(burst: Sequence[EventRow]) -> str | None:
        if told.is_final and not burst:
            return None
        frame = make_frame(request, session, "fleet", zone=zone)
        with reading(request.app.state.engine, session.actor.reach) as database:
            parts = WalkParts(services_for(request, database, session.actor), walk_id)
            values = parts.values(frame)
            told.is_final = not parts.read.row.is_open
        return _beat(frame) + partial("#walk", fragment(frame, "parts/walk_body.html", **values))

    where = EventFilter(session.actor.tenant_id, device_id=device_id)
    return _stream(request, where, after_id, renew)


def _stream(
    request: Request, where: EventFilter, after_id: int, renew: Renew, live: LiveSide | None = None
) -> StreamingResponse:
    answer = stream(request.app.state.hub, where, after_id, renew, live)
    answer.body_iterator = while_let_in(request, aiter(answer.body_iterator))
    return answer


class _Watching:
    """What the stream of a device's page remembers: its place, its link, its live readings."""

    def __init__(
        self, request: Request, session: ConsoleSession, device_id: str, opened_s: int, *, is_whole: bool
    ) -> None:
        self._request = request
        self._session = session
        self.is_whole = is_whole
        with reading(request.app.state.engine, session.actor.reach) as database:
            services = services_for(request, database, session.actor)
            at_site = services.devices.get(device_id)
            self._zone = at_site.site.timezone
            self._watched = Watched(device_id, at_site.device.link_id)
            profile = services.devices.get(at_site.device.link_id).device.profile
            shown = DeviceParts(services, self.frame(), device_id).shown_readings(is_whole=is_whole)
        self._asks_until = asks_until(profile, datetime.fromtimestamp(opened_s, UTC))
        self.readings = LiveReadings(at_site.device.terminal_class, shown, self._asks_until)

    def frame(self) -> Frame:
        return make_frame(self._request, self._session, "fleet", zone=self._zone)

    def live_side(self) -> LiveSide | None:
        """None for who may look but not make the terminal say more."""
        if not self._session.actor.may(Permission.LIVE_WATCH):
            return None
        left_s = inf if self._asks_until is None else (self._asks_until - utc_now()).total_seconds()
        state = self._request.app.state
        updates = state.live.subscribe(self._watched, time.monotonic() + left_s)
        return LiveSide(of_assigned(state.engine, self._session.actor.reach, updates), self._follow)

    def _follow(self, update: LiveUpdate) -> str:
        return self.readings.follow(update, self.frame())


class _Told:
    """Whether the browser knows that the run has ended: the last results may come right after that."""

    is_final = False


def _beat(frame: Frame) -> str:
    return partial("#beat", fragment(frame, "parts/beat.html"))


def _fleet_parts(services: Services, frame: Frame, changed: set[str]) -> list[str]:
    """Rows that are not in view are passed over by the browser: their target is not there."""
    found: list[DeviceAtSite] = []
    for device_id in sorted(changed):
        try:
            found.append(services.devices.get(device_id))
        except DeviceNotFound:
            # Retired since: its row stays until the page is loaded again.
            continue
    html = [
        partial(f"#row-{row.id}", fragment(frame, "parts/fleet_row.html", row=row))
        for row in rows_of(services, found, frame)
    ]
    entries = census(services.devices.census().condition)
    return [*html, partial("#census", fragment(frame, "parts/census.html", census=entries))]


def _device_parts(
    parts: DeviceParts, frame: Frame, wanted: AbstractSet[str], burst: Sequence[EventRow], watching: _Watching
) -> list[str]:
    has_news = any(event.type == "verdict" for event in burst)
    makers: dict[str, Callable[[], dict[str, object]]] = {
        "device_head": dict,
        "lead": lambda: {"lead": parts.lead(live=watching.readings), "faults": parts.faults()},
        "faults": lambda: {"faults": parts.faults()},
        "health": lambda: {"health": parts.health(is_whole=watching.is_whole, live=watching.readings)},
        "attached": lambda: {"attached": parts.attached()},
        "keeping": lambda: {"keeping": parts.keeping()},
        "run_panel": lambda: {"run": watching.readings.on_run(parts.latest_run(has_news=has_news))},
        "playbooks": lambda: {"offers": parts.playbooks()},
        "actions": lambda: {"groups": parts.groups(), "is_offline": parts.is_offline},
    }
    who = parts.who()
    return [
        partial(_TARGETS.get(name, f"#{name}"), fragment(frame, f"parts/{name}.html", who=who, **make()))
        for name, make in makers.items()
        if name in wanted
    ]
