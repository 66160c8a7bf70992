"""The fleet: census, conditions in the address, worst first, fifty a page.

The first answer carries the rows of one screen; the rest of the page follows in one request, which keeps the first page
under its budget of 100 kB.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.console.frame import Frame, fragment, make_frame, page
from fleet_server.console.language import N_
from fleet_server.console.services import Services, services_for
from fleet_server.console.view_models.fleet import UNTOLD, Filters, FleetRow, census, chips, fleet_row
from fleet_server.console.view_models.readings import any_out
from fleet_server.console.words import CONDITIONS, DEVICE_KINDS, PRESENCES
from fleet_server.devices.repository import DeviceFilters
from fleet_server.devices.service import DeviceAtSite
from fleet_server.health.searching import MAX_CHARS, ConditionUnreadable, read_conditions
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.request_session import SessionDep

router = APIRouter(include_in_schema=False, dependencies=[console_needs(Permission.DEVICES_READ)])
FIRST_ROWS = 12
_CHIP_NAMES = {
    "condition": N_("State:"),
    "q": N_("Name or number:"),
    "site": N_("Store:"),
    "kind": N_("Kind:"),
    "model": N_("Model:"),
    "firmware": N_("Firmware:"),
    "agent": N_("Agent:"),
    "where": N_("Newest value:"),
}


def filters_of(
    q: Annotated[str, Query(max_length=80)] = "",
    condition: Annotated[str, Query(max_length=16)] = "",
    presence: Annotated[str, Query(max_length=16)] = "",
    site: Annotated[str, Query(max_length=64)] = "",
    kind: Annotated[str, Query(max_length=16)] = "",
    model: Annotated[str, Query(max_length=80)] = "",
    firmware: Annotated[str, Query(max_length=80)] = "",
    agent: Annotated[str, Query(max_length=64)] = "",
    where: Annotated[str, Query(max_length=MAX_CHARS)] = "",
) -> Filters:
    """An unknown condition is no condition: old bookmarks still show something."""
    try:
        conditions, unreadable = read_conditions([where]), ""
    except ConditionUnreadable:
        conditions, unreadable = (), where
    return Filters(
        q=q.strip(),
        condition=condition if condition in CONDITIONS else "",
        presence=presence if presence in PRESENCES else "",
        site=site,
        kind=kind if kind in DEVICE_KINDS else "",
        model=model,
        firmware=firmware,
        agent=agent,
        conditions=conditions,
        where=unreadable,
    )


@router.get("/")
def fleet(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    filters: Annotated[Filters, Depends(filters_of)],
    cursor: Annotated[str | None, Query(max_length=400)] = None,
    full: bool = False,  # noqa: FBT001, FBT002 - a switch in the address
) -> HTMLResponse:
    """``full``: the whole page at once, for browsers without script."""
    services = services_for(request, database, session.actor)
    newest_id = services.timeline.newest_id()
    frame = make_frame(request, session, "fleet")
    found = services.devices.list(device_filters(filters, services), cursor, DEFAULT_LIMIT if full else FIRST_ROWS)
    return page(
        frame,
        "fleet.html",
        filters=filters,
        census=census(services.devices.census().condition),
        chips=chips(filters, _site_name(filters, found.items, frame), _CHIP_NAMES, frame.language),
        rows=rows_of(services, found.items, frame),
        rest="" if full or found.next is None else "/fleet/rows" + filters.query(cursor=found.next)[1:],
        all_rows=filters.query(cursor=cursor or "", full="true"),
        next=filters.query(cursor=found.next, full="true") if full and found.next else "",
        is_paged=cursor is not None,
        newest_id=newest_id,
    )


@router.get("/fleet/rows")
def rest_of_page(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    filters: Annotated[Filters, Depends(filters_of)],
    cursor: Annotated[str, Query(max_length=400)],
) -> HTMLResponse:
    """What follows the rows of the first screen."""
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session, "fleet")
    found = services.devices.list(device_filters(filters, services), cursor, DEFAULT_LIMIT - FIRST_ROWS)
    following = filters.query(cursor=found.next) if found.next else ""
    return HTMLResponse(
        fragment(frame, "parts/rest_of_page.html", rows=rows_of(services, found.items, frame), next=following)
    )


def device_filters(filters: Filters, services: Services) -> DeviceFilters:
    return DeviceFilters(
        q=filters.q,
        presence=filters.presence or None,
        condition=filters.condition or None,
        site=filters.site or None,
        kind=filters.kind or None,
        model=_told(filters.model),
        firmware=_told(filters.firmware),
        agent=_told(filters.agent),
        among=services.health_search.devices(filters.conditions),
    )


def _told(value: str) -> str | None:
    return "" if value == UNTOLD else value or None


def rows_of(services: Services, found: Sequence[DeviceAtSite], frame: Frame) -> list[FleetRow]:
    # Two days back: whatever the zone, today has begun by then.
    since = frame.calendar.now - timedelta(days=2)
    heard = services.devices.heard_since([one.device.id for one in found], since)
    # Who is well by its faults may still have readings that say otherwise, as its own page does.
    well = {one.device.id: one.device.terminal_class for one in found if one.device.condition == "well"}
    newest = services.health.latest_of(well)
    deviating = {device_id for device_id, latest in newest.items() if any_out(latest, well[device_id])}
    return [
        fleet_row(
            one.device,
            one.site,
            heard.get(one.device.id, ()),
            frame.calendar,
            is_deviating=one.device.id in deviating,
        )
        for one in found
    ]


def _site_name(filters: Filters, found: Sequence[DeviceAtSite], frame: Frame) -> str:
    """Every row of a list by store is in that store, so the first one knows its name."""
    if not filters.site or not found:
        return ""
    site = found[0].site
    pick = frame.language.pick
    return f"{pick(site.merchant_name_zh, site.merchant_name_en)} · {pick(site.name_zh, site.name_en)}"
