"""The people of the tenant: who may sign in, in what state, and what those who manage them can do about it."""

from enum import StrEnum
from typing import Annotated, assert_never

from fastapi import APIRouter, Form, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.people import Known, People
from fleet_server.auth.roles import Permission, Role
from fleet_server.auth.sessions import ConsoleSession
from fleet_server.auth.step_up import SteppedUpDep
from fleet_server.console.frame import make_frame, page
from fleet_server.console.words import ROLES
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

router = APIRouter(include_in_schema=False)

_READ = console_needs(Permission.PEOPLE_READ)
_MANAGE = console_needs(Permission.PEOPLE_MANAGE)
PersonIdPath = Annotated[str, Path(max_length=36)]


class Deed(StrEnum):
    SET_UP_CODE = "set-up-code"
    DISABLE = "disable"
    ENABLE = "enable"
    UNLOCK = "unlock"
    RESET_SECOND_FACTOR = "reset-second-factor"
    END_SESSIONS = "end-sessions"
    ROLE = "role"


@router.get("/people", dependencies=[_READ])
def people(request: Request, session: ConsoleSessionDep, database: SessionDep) -> HTMLResponse:
    known = People(database, session.actor, utc_now()).list()
    return page(make_frame(request, session, "people"), "people.html", people=known, roles=ROLES, given=_given(session))


@router.post("/people", dependencies=[_MANAGE])
def add_person(
    request: Request,
    session: ConsoleSessionDep,
    actor: SteppedUpDep,
    database: SessionDep,
    role: Annotated[Role, Form()],
    name: Annotated[str, Form(max_length=64)] = "",
) -> HTMLResponse:
    """Answers with the code for setting up, which is shown once."""
    managed = People(database, actor, utc_now())
    person_id, code = managed.add(name.strip(), role)
    return _person_page(request, session, managed.find(person_id), code=code)


@router.get("/people/{person_id}", dependencies=[_READ])
def person(request: Request, session: ConsoleSessionDep, database: SessionDep, person_id: PersonIdPath) -> HTMLResponse:
    return _person_page(request, session, People(database, session.actor, utc_now()).find(person_id))


@router.post("/people/{person_id}/{deed}", dependencies=[_MANAGE])
def change_person(
    request: Request,
    session: ConsoleSessionDep,
    actor: SteppedUpDep,
    database: SessionDep,
    person_id: PersonIdPath,
    deed: Deed,
    role: Annotated[Role | None, Form()] = None,
    which: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    managed = People(database, actor, utc_now())
    match deed:
        case Deed.SET_UP_CODE:
            code = managed.new_set_up_code(person_id)
            return _person_page(request, session, managed.find(person_id), code=code)
        case Deed.DISABLE:
            managed.disable(person_id)
        case Deed.ENABLE:
            managed.enable(person_id)
        case Deed.UNLOCK:
            managed.unlock(person_id)
        case Deed.RESET_SECOND_FACTOR:
            managed.reset_second_factor(person_id)
        case Deed.END_SESSIONS:
            managed.end_sessions(person_id, which or None)
        case Deed.ROLE:
            if role is not None:
                managed.set_role(person_id, role)
        case _:
            assert_never(deed)
    return RedirectResponse(f"/people/{person_id}", status_code=303)


def _person_page(request: Request, session: ConsoleSession, known: Known, *, code: str = "") -> HTMLResponse:
    return page(
        make_frame(request, session, "people"),
        "person.html",
        known=known,
        code=code,
        is_self=known.id == session.actor.id,
        may_manage=session.actor.may(Permission.PEOPLE_MANAGE) and session.actor.may_give(known.role),
        roles=ROLES,
        given=_given(session),
    )


def _given(session: ConsoleSession) -> list[str]:
    """Roles that this person may give to others."""
    return [role.value for role in Role if session.actor.may_give(role)]
