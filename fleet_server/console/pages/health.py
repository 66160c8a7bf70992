"""The course of a device's readings as charts: which of them, and which time, stands in the address."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import AwareDatetime

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.console.device_parts import DeviceParts
from fleet_server.console.frame import make_frame, page
from fleet_server.console.pages.device import DeviceIdPath
from fleet_server.console.services import services_for
from fleet_server.console.view_models.course_range import choose_period
from fleet_server.console.view_models.health_charts import (
    POINTS,
    Drawing,
    chart_of,
    chosen_metrics,
    export_query,
    fault_marks,
    numbers_by_urgency,
    options_by_unit,
    span_links,
)
from fleet_server.health.export import Wanted
from fleet_server.health.export_answer import export_answer
from fleet_server.health.export_files import Format
from fleet_server.request_session import SessionDep

router = APIRouter(include_in_schema=False, dependencies=[console_needs(Permission.HEALTH_READ)])
MetricName = Annotated[str, Query(max_length=64)]


@router.get("/devices/{device_id}/health")
def health_page(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    device_id: DeviceIdPath,
    m: Annotated[list[MetricName], Query(max_length=40)] = [],  # noqa: B006 - FastAPI makes a new one for each request
    span: Annotated[str, Query(max_length=8)] = "",
    begin: Annotated[str, Query(alias="from", max_length=80)] = "",
    end: Annotated[str, Query(alias="to", max_length=80)] = "",
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    device = services.devices.get(device_id)
    frame = make_frame(request, session, "fleet", zone=device.site.timezone)
    calendar, terminal_class = frame.calendar, device.device.terminal_class
    readings = numbers_by_urgency(services.health.latest(device_id), terminal_class, calendar)
    names = chosen_metrics(m, readings)
    chosen = choose_period(span, begin, end, calendar)
    period = chosen.period
    courses = services.health.course(device_id, names, period.begin, period.end, POINTS)
    drawing = Drawing(period, courses.bucket, terminal_class, calendar)
    newest = {reading.metric: reading for reading in readings}
    return page(
        frame,
        "health_charts.html",
        who=DeviceParts(services, frame, device_id).who(),
        chosen=chosen,
        export_href=f"/devices/{device_id}/health/export?{export_query(names, period)}",
        bucket="" if courses.bucket is None else calendar.length(courses.bucket),
        zone=calendar.zone_name(),
        spans=span_links(f"/devices/{device_id}/health", chosen, names),
        groups=options_by_unit(readings, names),
        charts=[chart_of(name, courses.of.get(name), newest.get(name), drawing) for name in names],
        faults=fault_marks(services.faults.of_period(device_id, period.begin, period.end), period, calendar),
    )


@router.get("/devices/{device_id}/health/export", dependencies=[console_needs(Permission.HEALTH_EXPORT)])
def health_export(
    request: Request,
    session: ConsoleSessionDep,
    device_id: DeviceIdPath,
    begin: Annotated[AwareDatetime, Query(alias="from")],
    end: Annotated[AwareDatetime, Query(alias="to")],
    m: Annotated[list[MetricName], Query(max_length=40)] = [],  # noqa: B006 - FastAPI makes a new one for each request
) -> StreamingResponse:
    """The samples of what a page shows, as CSV."""
    return export_answer(
        request.app.state, session.actor, Wanted(begin, end, None, device_id, None, frozenset(m)), Format.CSV
    )
