"""Pages for what went wrong, in words. Programs get ``{"code", "detail"}`` from the JSON door instead.

A problem page never shows what an exception says: that may hold somebody's input. It shows our words and the code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fleet_server.auth.dependencies import console_session, doorkeeping, lead_to_sign_in, passwords
from fleet_server.auth.errors import SignInNeeded, StepUpNeeded
from fleet_server.auth.service import AuthService
from fleet_server.auth.sessions import ConsoleSession
from fleet_server.auth.step_up import lead_to_step_up
from fleet_server.console.away import away_page
from fleet_server.console.frame import make_frame, page
from fleet_server.console.language import N_
from fleet_server.databases import DatabaseAway
from fleet_server.errors import FleetError
from fleet_server.problems import away, refused

_log = structlog.get_logger(__name__)
Handler = Callable[[Request, Exception], Response | Awaitable[Response]]
_PROGRAM_PATHS = ("/api/", "/enrol/", "/artifacts/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/static/")


@dataclass(frozen=True, slots=True)
class Problem:
    title: str
    text: str


PROBLEMS: dict[int, Problem] = {
    400: Problem(N_("That did not work"), N_("The request could not be carried out. Nothing was changed.")),
    403: Problem(N_("Not allowed"), N_("Your role does not allow this. Nothing was changed.")),
    404: Problem(
        N_("Not found"), N_("There is nothing at this address. It may be mistyped, or the device was retired.")
    ),
    405: Problem(N_("Not allowed"), N_("This address cannot be asked in this way. Nothing was changed.")),
    409: Problem(N_("Not now"), N_("The present state does not allow this. Nothing was changed.")),
    422: Problem(N_("Not understood"), N_("Something in the request is not as expected. Nothing was changed.")),
    500: Problem(
        N_("Our mistake"), N_("Something went wrong on our side. It has been written down; please try again.")
    ),
}
# More exact words for single codes.
BY_CODE: dict[str, str] = {
    "request_forged": N_("This page was from an earlier session. Load it again, then repeat. Nothing was changed."),
    "device_not_found": N_("No device has this id for you. It may be mistyped, retired, or not assigned to you."),
    "site_unknown": N_("There is no such site, or several of this merchant: give the site's id. Nothing was changed."),
    "nothing_asked": N_("Give a sign-in name, a whole telephone number, or a name. Nothing was changed."),
    "subject_not_found": N_("Nothing is stored about anybody of this name or number."),
    "still_needed": N_(
        "A run that waits for approval, or a shift permit in force, names this person: end or withdraw it first. "
        "Nothing was changed."
    ),
    "ledger_unusable": N_("The ledger of erasures cannot be read or written. Tell whoever runs the server."),
    "site_not_found": N_("No site has this id."),
    "site_invalid": N_(
        "A field is empty that needs a value, too long, or not as expected: a number has digits and + - ( ) / . only, "
        "a time zone is a name such as Asia/Shanghai. Nothing was changed."
    ),
    "serial_in_service": N_(
        "A device of this serial number is in service as something else. Take that out of service first."
    ),
    "enrolment_not_waiting": N_("This was decided already. Load the page again."),
    "enrolment_not_found": N_("There is no such code or request any more. Load the page again."),
    "pallet_invalid": N_("A serial number or model is missing, too long, or holds signs that cannot be printed."),
    "assignment_not_found": N_("There is no such assignment any more. Load the page again."),
    "assignee_unusable": N_("Nobody of this name is a technician who is let in. Nothing was changed."),
    "assignment_invalid": N_(
        "The last day comes before the first, has passed, or is more than 31 days on. Nothing was changed."
    ),
    "too_many_assignments": N_("This technician has too many assignments: end some first. Nothing was changed."),
    "freeze_not_found": N_("There is no such freeze any more. Load the page again."),
    "freeze_invalid": N_(
        "The end comes before the beginning, has passed, or is more than 45 days on; the beginning is more than 400 "
        "days ahead; or no reason was given. Nothing was changed."
    ),
    "too_many_freezes": N_("Too many freezes have not ended: end one that is not needed. Nothing was changed."),
    "freeze_of_all": N_("The operator of the installation declared this freeze for all tenants, and alone ends it."),
    "freeze_in_force": N_(
        "A freeze is in force: what is planned for many devices does not start. Nothing was changed."
    ),
    "playbook_running": N_("A playbook is being walked on this device already. Nothing was changed."),
    "playbook_over": N_("This walk of a playbook is over already."),
    "playbook_not_for_device": N_("This device cannot do what the playbook begins with. Nothing was changed."),
    "playbook_variables_invalid": N_(
        "A value is not as the playbook expects it, or holds card data. Nothing was changed."
    ),
    "execution_not_found": N_("No run has this id."),
    "action_not_declared": N_("This device does not offer this action. Nothing was changed."),
    "capabilities_unknown": N_("The device has not told yet what it can do. Nothing was changed."),
    "override_not_allowed": N_("Whoever does without a safe moment has to say why. Nothing was asked of the device."),
    "class_not_offered": N_(
        "This action needs two people's signatures, which cannot be given here. Nothing was changed."
    ),
    "idempotency_key_reused": N_(
        "This form was sent before with other values. Load the page again. Nothing was changed."
    ),
    "execution_finished": N_("This run has ended already."),
    "database_away": N_(
        "The database cannot be reached just now. Nothing was changed, and what you entered is still here: "
        "send it again in a moment."
    ),
    "database_restoring": N_(
        "A backup is being brought back, so nothing can be changed just now. What you entered is still here: "
        "send it again when that is done."
    ),
    "too_many_tries": N_("Too many wrong tries came from where you are. Wait a minute, then try again."),
    "sign_in_busy": N_("Too many people sign in at this moment. Try again in a few seconds."),
    "people_key_missing": N_(
        "The server's key for second factors cannot be read. Whoever runs the server finds the reason in its log."
    ),
    "secret_unreadable": N_("Your second factor cannot be read any more. Ask your administrator to reset it."),
    "oidc_refused": N_("The sign-in with your provider did not end as it began. Nothing was changed: start it anew."),
    "oidc_not_linked": N_("Your provider knows you, but you are linked to nobody here. Ask your administrator."),
    "oidc_unavailable": N_("Your provider cannot be asked just now. Sign in with name and password, or try again."),
    "oidc_not_offered": N_("There is no provider to sign in with here."),
    "person_unknown": N_("There is nobody of this id here."),
    "person_above_you": N_("Somebody who may more than you is managed by others. Nothing was changed."),
    "not_oneself": N_("Nobody does this to himself: another administrator can. Nothing was changed."),
    "name_taken": N_("There is somebody of this name already. Choose another. Nothing was changed."),
    "name_unusable": N_("A name has 1 to 64 characters and no space at either end. Nothing was changed."),
    "cursor_invalid": N_("This page of the list does not exist any more. Start from the first one."),
}


def is_page(request: Request) -> bool:
    return not request.url.path.startswith(_PROGRAM_PATHS)


def problem_words(status: int, code: str) -> str:
    """A source text: the exact words for the code, else what the status means."""
    return BY_CODE.get(code, _problem(status).text)


def problem_page(request: Request, status: int, code: str = "") -> Response:
    known = _problem(status)
    session = _who(request)
    frame = make_frame(request, session)
    return page(
        frame,
        "problem.html" if session else "problem_outside.html",
        status=status,
        title=known.title,
        text=problem_words(status, code),
        code=code,
        status_code=status,
    )


def add_problem_pages(app: FastAPI) -> None:
    """Pages get pages; whatever handlers the program has by then keep answering programs."""
    handlers: dict[type[Exception], Callable[[Exception], tuple[int, str]]] = {
        FleetError: lambda error: (getattr(error, "status", 400), getattr(error, "code", "")),
        RequestValidationError: lambda _error: (422, "request_invalid"),
        HTTPException: lambda error: (getattr(error, "status_code", 500), ""),
        Exception: lambda _error: (500, "internal"),
    }
    for kind, describe in handlers.items():
        before: Any = app.exception_handlers.get(kind)
        app.add_exception_handler(kind, _handler(kind, describe, before))
    for lost in (DatabaseAway, OperationalError, InterfaceError):
        app.add_exception_handler(lost, _away_handler(app.exception_handlers.get(lost)))
    app.add_exception_handler(SignInNeeded, lead_to_sign_in)
    app.add_exception_handler(StepUpNeeded, lead_to_step_up)


def _handler(
    kind: type[Exception], describe: Callable[[Exception], tuple[int, str]], before: Handler | None
) -> Handler:
    async def answer(request: Request, error: Exception) -> Response:
        if is_page(request) or before is None:
            if kind is Exception:
                _log.error("a page failed", method=request.method, path=request.url.path[:200], exc_info=error)
            shown = await run_in_threadpool(problem_page, request, *describe(error))
            if hasattr(error, "retry_after_s"):
                shown.headers["Retry-After"] = str(error.retry_after_s)
            return shown
        answered = before(request, error)
        return answered if isinstance(answered, Response) else await answered

    return answer


def _away_handler(before: Any) -> Callable[[Request, Exception], Awaitable[Response]]:
    """``before``: what answers programs; None leaves that to the handler of refusals."""

    async def answer(request: Request, error: Exception) -> Response:
        if not is_page(request):
            return refused(request, error) if before is None else before(request, error)
        told = error if isinstance(error, DatabaseAway) else away(request, error)
        # A form was read before anything was asked of the database; what is kept of it is small.
        typed = await request.form() if request.method == "POST" else FormData()
        return await run_in_threadpool(away_page, request, told, typed)

    return answer


def _problem(status: int) -> Problem:
    return PROBLEMS.get(status) or PROBLEMS[500 if status >= 500 else 400]


def _who(request: Request) -> ConsoleSession | None:
    """The person behind a failed request, if any; the problem page shows the usual frame then."""
    service = AuthService(doorkeeping(request, passwords()))
    try:
        # A problem page only shows, so the token of a form is not asked for again.
        return console_session(_as_get(request), service, "")
    except (FleetError, OperationalError, InterfaceError):
        return None


def _as_get(request: Request) -> Request:
    return Request({**request.scope, "method": "GET"})
