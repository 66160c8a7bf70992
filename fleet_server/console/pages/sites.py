"""A site: what is over its door, whom to call there and where it is, and a form for those who keep that right."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Permission
from fleet_server.auth.sessions import ConsoleSession
from fleet_server.console.frame import make_frame, page
from fleet_server.console.language import N_
from fleet_server.console.problems import problem_words
from fleet_server.db import reading, transaction
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep
from fleet_server.sites.errors import SiteInvalid
from fleet_server.sites.service import SiteService
from fleet_server.sites.shown import SiteShown
from fleet_server.sites.values import LONGEST

router = APIRouter(include_in_schema=False)
SiteIdPath = Annotated[str, Path(max_length=64)]
FIELDS: Mapping[str, str] = {
    "contact_name": N_("Whom to call"),
    "phone": N_("Phone"),
    "address": N_("Address"),
    "merchant_id": N_("Merchant id"),
    "merchant_name_zh": N_("Merchant, in Chinese"),
    "merchant_name_en": N_("Merchant, in English"),
    "name_zh": N_("Shop, in Chinese"),
    "name_en": N_("Shop, in English"),
    "city_zh": N_("City, in Chinese"),
    "city_en": N_("City, in English"),
    "timezone": N_("Time zone"),
}


@router.get("/sites/{site_id}", dependencies=[console_needs(Permission.DEVICES_READ)])
def site_page(request: Request, session: ConsoleSessionDep, database: SessionDep, site_id: SiteIdPath) -> HTMLResponse:
    return _shown(request, session, SiteService(database, session.actor, utc_now()).get(site_id))


@router.post("/sites/{site_id}/open", dependencies=[console_needs(Permission.PERSONAL_OPEN)])
def open_site(request: Request, session: ConsoleSessionDep, database: SessionDep, site_id: SiteIdPath) -> HTMLResponse:
    """Whom to call, in full, on this answer alone. Each opening is written down."""
    return _shown(request, session, SiteService(database, session.actor, utc_now()).open(site_id))


@router.post("/sites/{site_id}", dependencies=[console_needs(Permission.SITES_MANAGE)])
async def change_site(request: Request, session: ConsoleSessionDep, site_id: SiteIdPath) -> Response:
    form = await request.form()
    typed = {name: value for name in LONGEST if isinstance(value := form.get(name), str)}
    return await run_in_threadpool(_change, request, session, site_id, typed)


def _change(request: Request, session: ConsoleSession, site_id: str, typed: Mapping[str, str]) -> Response:
    """In a transaction of its own: what was refused is shown with what was typed still in the form."""
    try:
        with transaction(request.app.state.engine, session.actor.reach) as database:
            SiteService(database, session.actor, utc_now()).change(site_id, typed)
    except SiteInvalid as error:
        with reading(request.app.state.engine, session.actor.reach) as database:
            site = SiteService(database, session.actor, utc_now()).get(site_id)
        return _shown(request, session, site, typed=typed, problem=error)
    return RedirectResponse(f"/sites/{site_id}", status_code=303)


def _shown(
    request: Request,
    session: ConsoleSession,
    site: SiteShown,
    *,
    typed: Mapping[str, str] | None = None,
    problem: SiteInvalid | None = None,
) -> HTMLResponse:
    frame = make_frame(request, session, "fleet", zone=site.timezone)
    values = {name: getattr(site, name) for name in LONGEST} | dict(typed or {})
    return page(
        frame,
        "site.html",
        status=200 if problem is None else problem.status,
        site=site,
        name=frame.language.pick(site.name_zh, site.name_en),
        merchant=frame.language.pick(site.merchant_name_zh, site.merchant_name_en),
        city=frame.language.pick(site.city_zh, site.city_en),
        fields=[(name, words, values[name], LONGEST[name]) for name, words in FIELDS.items()],
        problem="" if problem is None else frame.calendar.texts.gettext(problem_words(problem.status, problem.code)),
        # What is masked is no value to write back.
        may_change=session.actor.may(Permission.SITES_MANAGE) and not site.is_masked,
        may_open=session.actor.may(Permission.PERSONAL_OPEN),
    )
