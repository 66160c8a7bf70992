"""Every refusal, every outage and every bug as ``{"code", "detail"}``: the JSON door's way of saying no."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from fleet_server.databases import DatabaseAway, Databases
from fleet_server.errors import FleetError
from protocol.redaction import scrub

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "content_type"}
_MAX_DETAIL_CHARS = 500
_log = structlog.get_logger(__name__)


def add_problem_answers(app: FastAPI) -> None:
    app.add_exception_handler(FleetError, refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(HTTPException, _of_the_framework)
    for kind in (OperationalError, InterfaceError):
        app.add_exception_handler(kind, _database_away)
    app.add_exception_handler(Exception, _our_mistake)


def _answer(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        {"code": code, "detail": scrub(detail).text[:_MAX_DETAIL_CHARS]}, status_code=status, headers=headers
    )


def refused(_request: Request, error: Exception) -> JSONResponse:
    code, status = getattr(error, "code", "refused"), getattr(error, "status", 400)
    headers = {}
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(status, code, str(error), headers)


def _not_understood(_request: Request, error: Exception) -> JSONResponse:
    errors: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else []
    return _answer(422, "request_invalid", "; ".join(_said(one) for one in errors[:5]) or "not understood")


def _said(one: dict[str, Any]) -> str:
    """Where, and what was expected; never the input itself."""
    where = ".".join(str(part)[:60] for part in one.get("loc", ()))
    return f"{where}: {one.get('msg', '')}"


def _of_the_framework(request: Request, error: Exception) -> JSONResponse:
    status = getattr(error, "status_code", 500)
    detail = str(getattr(error, "detail", "")) or "refused"
    headers = getattr(error, "headers", None)
    if status == 400:
        # A body that is no text, or nested without end: not understood, like one that is of another shape.
        return _answer(422, "request_invalid", "the body is not JSON in UTF-8, or not a form")
    if status == 405:
        headers = {**(headers or {}), "Allow": ", ".join(_methods_at(request))}
    return _answer(status, _CODES.get(status, "request_refused"), detail, headers)


def _methods_at(request: Request) -> list[str]:
    """All that may be done at this address; the framework names those of one of its routes. A word that has a route of
    its own is not taken for an id.
    """
    by_path: dict[str, set[str]] = {}
    for route in iter_route_contexts(request.app.routes):
        at = re.compile(getattr(route, "path_regex", None) or re.escape(route.path or ""))
        if at.fullmatch(request.url.path) is not None:
            by_path.setdefault(route.path or "", set()).update(route.methods or ())
    own = by_path.get(request.url.path)
    return sorted(own if own is not None else set().union(*by_path.values()))


def _database_away(request: Request, error: Exception) -> JSONResponse:
    """Lost connections, full disks, locks: the same request may succeed in a moment. Nothing was committed."""
    return refused(request, away(request, error))


def away(request: Request, error: Exception) -> DatabaseAway:
    """What a person or a program is told of ``error``, which is written down and noted for those who come after."""
    _log.error("the database took nothing", method=request.method, path=request.url.path[:200], error=str(error)[:300])
    databases: Databases = request.app.state.databases
    databases.note(error)
    return databases.refusal()


def _our_mistake(request: Request, error: Exception) -> JSONResponse:
    _log.error("a request failed", method=request.method, path=request.url.path[:200], exc_info=error)
    return _answer(500, "internal", "something went wrong on the server's side; it has been written down")
