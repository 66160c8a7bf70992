"""People's data on request: what is stored about somebody, given out as a file or erased. Only with a fresh proof of
who is at the screen; names and numbers that are typed here are sent in the body, for addresses lie in logs.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from sqlalchemy import Engine

from fleet_server.audit.service import record
from fleet_server.auth.dependencies import ConsoleSessionDep, console_needs
from fleet_server.auth.roles import Actor, Permission
from fleet_server.auth.sessions import ConsoleSession
from fleet_server.auth.step_up import SteppedUpDep
from fleet_server.console.frame import make_frame, page
from fleet_server.console.language import N_
from fleet_server.db import reading, transaction
from fleet_server.kit.times import utc_now
from fleet_server.personal.erasing import ask, newest
from fleet_server.personal.errors import SubjectNotFound
from fleet_server.personal.exporting import export, survey
from fleet_server.personal.subjects import Kind, Subject, find_subjects

router = APIRouter(include_in_schema=False, dependencies=[console_needs(Permission.PERSONAL_ERASE)])
_SHOWN = 20


class How(StrEnum):
    PERSON = "person"
    PHONE = "phone"
    NAME = "name"


HOWS = {How.PERSON: N_("Name to sign in with"), How.PHONE: N_("Phone"), How.NAME: N_("A person's name")}
KINDS = {Kind.PERSON: N_("may sign in"), Kind.SITE: N_("contact of a site"), Kind.WORDS: N_("mentioned in texts")}
Asked = Annotated[str, Form(max_length=120)]
# Of a person or site its reference; of words alone the kind, for they have no id before they are erased.
Which = Annotated[str, Form(max_length=80)]


@router.get("/personal-data")
def personal_data(request: Request, session: ConsoleSessionDep, actor: SteppedUpDep) -> HTMLResponse:
    return _shown(request, session, actor, _engine(request), How.PERSON, "", None)


@router.post("/personal-data/find")
def find(
    request: Request, session: ConsoleSessionDep, actor: SteppedUpDep, how: Annotated[How, Form()], q: Asked
) -> HTMLResponse:
    """What there is, in numbers: nothing is changed."""
    engine = _engine(request)
    with transaction(engine, actor.reach) as database:
        record(database, actor, "personal_looked_for", data={"by": how.value}, now=utc_now())
    found = [(subject, survey(engine, subject)) for subject in _subjects(engine, actor, how, q)]
    return _shown(request, session, actor, engine, how, q, found)


@router.post("/personal-data/export")
def give_out(
    request: Request, actor: SteppedUpDep, how: Annotated[How, Form()], q: Asked, which: Which
) -> StreamingResponse:
    engine = _engine(request)
    chunks = export(engine, actor, _chosen(engine, actor, how, q, which), request.app.state.settings, utc_now())
    # It is written down before the answer begins.
    next(chunks)
    headers = {"Content-Disposition": 'attachment; filename="personal-data.json"'}
    return StreamingResponse(chunks, media_type="application/json", headers=headers)


@router.post("/personal-data/erase")
def erase(
    request: Request,
    actor: SteppedUpDep,
    how: Annotated[How, Form()],
    q: Asked,
    which: Which,
    sure: Annotated[str, Form(max_length=8)] = "",
) -> Response:
    """The scheduler does it; this page says how far it is."""
    engine = _engine(request)
    subject = _chosen(engine, actor, how, q, which)
    if sure == "on":
        with transaction(engine, actor.reach) as database:
            ask(database, actor, subject, utc_now())
    return RedirectResponse("/personal-data", status_code=303)


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _subjects(engine: Engine, actor: Actor, how: How, q: str) -> list[Subject]:
    with reading(engine, actor.reach) as database:
        return list(find_subjects(database, actor.tenant_id, utc_now(), **{how.value: q}))


def _chosen(engine: Engine, actor: Actor, how: How, q: str, which: str) -> Subject:
    for subject in _subjects(engine, actor, how, q):
        if which in {subject.reference, subject.kind.value}:
            return subject
    raise SubjectNotFound("there is nobody like this any more")


def _shown(
    request: Request,
    session: ConsoleSession,
    actor: Actor,
    engine: Engine,
    how: How,
    q: str,
    found: list[tuple[Subject, dict[str, int]]] | None,
) -> HTMLResponse:
    with reading(engine, actor.reach) as database:
        erasures = newest(database, actor.tenant_id, _SHOWN)
    return page(
        make_frame(request, session, "people"),
        "personal_data.html",
        hows=HOWS,
        how=how,
        q=q,
        found=None if found is None else list(_rows(found)),
        erasures=erasures,
    )


def _rows(found: list[tuple[Subject, dict[str, int]]]) -> Iterator[dict[str, object]]:
    for subject, counts in found:
        which = subject.kind.value if subject.kind is Kind.WORDS else subject.reference
        yield {"title": subject.title, "kind": KINDS[subject.kind], "which": which, "counts": counts}
