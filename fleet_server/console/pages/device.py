"""A device: its page, previews of its actions, and asking it for one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.auth.sessions import ConsoleSession
from fleet_server.console.device_parts import DeviceParts
from fleet_server.console.frame import Frame, fragment, make_frame, page
from fleet_server.console.problems import problem_words
from fleet_server.console.services import Services, services_for
from fleet_server.console.view_models.fleet import place_name
from fleet_server.console.view_models.forms import form_fields, read_form
from fleet_server.console.view_models.preview import preview
from fleet_server.databases import DatabaseAway
from fleet_server.db import reading
from fleet_server.errors import FleetError
from fleet_server.executions.desk import ExecutionDesk
from fleet_server.executions.endpoints import ExecutionDeskDep
from fleet_server.executions.errors import ActionNotDeclared
from fleet_server.executions.service import Wish
from fleet_server.kit.identifiers import hex128
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep
from protocol.capabilities import Action
from protocol.commands import ActionKind

router = APIRouter(include_in_schema=False, dependencies=[console_needs(Permission.DEVICES_READ)])

DeviceIdPath = Annotated[str, Path(max_length=64)]
MAX_REASON_CHARS = 300


@router.get("/devices/{device_id}")
def device_page(
    request: Request,
    session: ConsoleSessionDep,
    database: SessionDep,
    device_id: DeviceIdPath,
    types: Annotated[str, Query(max_length=20)] = "",
    before: Annotated[str | None, Query(max_length=400)] = None,
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    newest_id = services.timeline.newest_id()
    zone = services.devices.get(device_id).site.timezone
    frame = make_frame(request, session, "fleet", zone=zone)
    parts = DeviceParts(services, frame, device_id)
    return page(
        frame,
        "device.html",
        who=parts.who(),
        lead=parts.lead(),
        faults=parts.faults(),
        health=parts.health(),
        timeline=parts.timeline(types, before),
        attached=parts.attached(),
        keeping=parts.keeping(),
        run=parts.latest_run(),
        groups=parts.groups(),
        offers=parts.playbooks(),
        is_offline=parts.is_offline,
        newest_id=newest_id,
    )


@router.get("/devices/{device_id}/readings")
def readings_page(
    request: Request, session: ConsoleSessionDep, database: SessionDep, device_id: DeviceIdPath
) -> HTMLResponse:
    services = services_for(request, database, session.actor)
    newest_id = services.timeline.newest_id()
    frame = make_frame(request, session, "fleet", zone=services.devices.get(device_id).site.timezone)
    parts = DeviceParts(services, frame, device_id)
    health = parts.health(is_whole=True)
    return page(frame, "readings.html", who=parts.who(), health=health, newest_id=newest_id)


@router.get("/devices/{device_id}/actions/{name}")
def action_page(
    request: Request, session: ConsoleSessionDep, database: SessionDep, device_id: DeviceIdPath, name: str
) -> HTMLResponse:
    """A page of its own, or the content of the dialog when a script asks."""
    services = services_for(request, database, session.actor)
    frame = make_frame(request, session, "fleet", zone=services.devices.get(device_id).site.timezone)
    asking = _Asking(services, frame, device_id, name)
    return asking.show(request, typed=None, errors={}, problem="", status=200)


@router.post("/devices/{device_id}/runs")
async def ask(
    request: Request, session: ConsoleSessionDep, desk: ExecutionDeskDep, device_id: DeviceIdPath
) -> Response:
    """Asks the device, and shows what becomes of it: in the open page for a check, on its own page for the rest."""
    typed = {key: value for key, value in (await request.form()).items() if isinstance(value, str)}
    return await run_in_threadpool(_ask, request, session, desk, device_id, typed)


def _ask(
    request: Request, session: ConsoleSession, desk: ExecutionDesk, device_id: str, typed: Mapping[str, str]
) -> Response:
    """One look at what is declared, then the desk's own transaction, which may be done once more, then another look."""
    with _asking(request, session, device_id, typed.get("action", "")) as asking:
        filled = read_form(asking.action.params, typed, asking.frame.calendar)
        if filled.errors:
            return asking.show(request, typed=typed, errors=filled.errors, problem="", status=422)
    reason = typed.get("override_reason", "").strip()[:MAX_REASON_CHARS] or None
    consent, override_holds = (typed.get(name) == "on" for name in ("consent", "override_holds"))
    wish = Wish(device_id, asking.action.name, filled.values, reason, consent, override_holds=override_holds)
    try:
        execution = desk.request(session.actor, wish, utc_now(), typed.get("key", "")[:64] or None)
    except FleetError as error:
        # Shown where the person looks: in the form, with what was typed still in it. Nothing was written.
        problem = asking.frame.calendar.texts.gettext(problem_words(error.status, error.code))
        with _asking(request, session, device_id, wish.action) as again:
            answer = again.show(request, typed=typed, errors={}, problem=problem, status=error.status)
            if isinstance(error, DatabaseAway):
                answer.headers["Retry-After"] = str(error.retry_after_s)
            return answer
    address = f"/runs/{execution.id}"
    if not _is_script(request):
        return RedirectResponse(address, status_code=303)
    if asking.action.kind is ActionKind.FIX:
        return Response(status_code=204, headers={"HX-Redirect": address})
    with _asking(request, session, device_id, wish.action) as after:
        html = fragment(after.frame, "parts/run_asked.html", run=after.parts.latest_run())
    return HTMLResponse(html, headers={"HX-Trigger": "run-asked"})


@contextmanager
def _asking(request: Request, session: ConsoleSession, device_id: str, name: str) -> Iterator["_Asking"]:
    """In a reading of its own: what the desk writes is not waited for, and no connection is held meanwhile."""
    with reading(request.app.state.engine, session.actor.reach) as database:
        services = services_for(request, database, session.actor)
        frame = make_frame(request, session, "fleet", zone=services.devices.get(device_id).site.timezone)
        yield _Asking(services, frame, device_id, name)


class _Asking:
    """One declared action of one device, and the form that asks for it."""

    def __init__(self, services: Services, frame: Frame, device_id: str, name: str) -> None:
        self.parts = DeviceParts(services, frame, device_id)
        self.frame = frame
        self._device_id = device_id
        self.action = self._declared(name)

    def show(
        self,
        request: Request,
        *,
        typed: Mapping[str, str] | None,
        errors: Mapping[str, str],
        problem: str,
        status: int,
    ) -> HTMLResponse:
        at_site, calendar = self.parts.at_site, self.frame.calendar
        return page(
            self.frame,
            "parts/action_dialog.html" if _is_script(request) else "action.html",
            status=status,
            device_id=self._device_id,
            place=place_name(at_site.device, at_site.site, calendar),
            preview=preview(
                self._device_id, self.action, self.parts.titles, calendar, is_offline=self.parts.is_offline
            ),
            fields=form_fields(self.action.params, calendar, typed, errors),
            override_reason="" if typed is None else typed.get("override_reason", ""),
            problem=problem,
            # Pressed twice, the same form asks once.
            key=hex128(),
        )

    def _declared(self, name: str) -> Action:
        found = next((action for action in self.parts.actions if action.name == name), None)
        if found is None:
            raise ActionNotDeclared(name)
        return found


def _is_script(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"
