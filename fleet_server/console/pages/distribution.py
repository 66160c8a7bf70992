"""How a reading lies over the fleet, by model and version. Nothing is counted before a reading is chosen: that reads a
row of each device.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.console.frame import make_frame, page
from fleet_server.console.pages.fleet import device_filters
from fleet_server.console.services import services_for
from fleet_server.console.view_models.distribution import VERSIONS, choices_by_unit, shown
from fleet_server.console.view_models.fleet import Filters
from fleet_server.console.words import DEVICE_KINDS
from fleet_server.health.distribution import Version
from fleet_server.request_session import SessionDep

router = APIRouter(include_in_schema=False, dependencies=[console_needs(Permission.HEALTH_READ)])


@router.get("/distribution")
def distribution_page(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    metric: Annotated[str, Query(max_length=64)] = "",
    by: Annotated[str, Query(max_length=80)] = Version.FIRMWARE,
    kind: Annotated[str, Query(max_length=16)] = "",
    model: Annotated[str, Query(max_length=80)] = "",
    site: Annotated[str, Query(max_length=64)] = "",
) -> HTMLResponse:
    """What is unknown in the address is left out: old bookmarks still show something."""
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session, "distribution")
    names = services.distribution.metrics()
    chosen = metric if metric in names else ""
    version = next((one for one in Version if one.value == by), Version.FIRMWARE)
    filters = Filters(site=site, kind=kind if kind in DEVICE_KINDS else "", model=model)
    found = None
    if chosen:
        makes = services.devices.makes(device_filters(filters, services))
        found = shown(services.distribution.of(chosen, makes, version), filters, frame.calendar)
    return page(
        frame,
        "distribution.html",
        groups=choices_by_unit(names, chosen, frame.calendar),
        versions=VERSIONS,
        kinds=DEVICE_KINDS,
        by=version,
        filters=filters,
        found=found,
        not_reported=metric if metric and not chosen else "",
    )
