"""For those who run the server: is it alive, is it ready, what does it count. Open to all: it names nobody, and what it
counts is of all tenants together.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import Engine, text
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from fleet_server.audit.watch import standings
from fleet_server.databases import DatabaseAway, DatabaseState, Standing
from fleet_server.db import reading
from fleet_server.devices.repository import census_of_all
from fleet_server.enrollment.ends import ends_in_s
from fleet_server.enrollment.identity_counts import links_past_their_end, retirements_waiting
from fleet_server.errors import FleetError
from fleet_server.executions.repository import counts_by_state
from fleet_server.ingest.installation import read_counters
from fleet_server.kit.times import text as moment
from fleet_server.kit.times import utc_now
from fleet_server.metrics import ServerMetrics
from fleet_server.schema import check_revision
from fleet_server.settings import ServerSettings

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers. Says nothing about what it depends on."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "not ready; `checks` says what is missing"}})
def readyz(request: Request) -> JSONResponse:
    """Ready to serve: database, its revision, broker, signer. `database` says what can be read while it is away."""
    state = request.app.state
    standing: Standing = state.databases.standing
    database_word = _database(state.engine, standing)
    checks = {
        "database": database_word,
        "migrations": _migrations(state.engine) if database_word == "ok" else "not known",
        "broker": "ok" if state.outbound.is_connected else "not connected",
        "signer": state.dispatcher.signing_word(),
    }
    is_ready = all(word == "ok" for word in checks.values())
    status = "ready" if is_ready else "not_ready"
    database = {
        "state": standing.state.value,
        "since": None if standing.since is None else moment(standing.since),
        "reads": standing.reads.value,
        "as_of": None if standing.as_of is None else moment(standing.as_of),
    }
    document = {"status": status, "checks": checks, "database": database}
    return JSONResponse(document, status_code=200 if is_ready else 503)


@router.get("/metrics", response_class=Response)
def prometheus_metrics(request: Request) -> Response:
    """Prometheus text."""
    state = request.app.state
    metrics: ServerMetrics = state.metrics
    settings: ServerSettings = state.settings
    metrics.set_process(
        rate_limited=state.buckets.refused,
        fanned_out=getattr(state.hub, "fanned_out", 0),
        is_broker_connected=state.outbound.is_connected,
    )
    metrics.set_live(state.live.counters)
    metrics.set_conflicts(state.conflicts.retried)
    metrics.set_database(state.databases.standing.state)
    metrics.set_ends(ends_in_s(settings, utc_now()))
    try:
        with reading(state.engine) as session:
            presence, condition = census_of_all(session, "presence"), census_of_all(session, "condition")
            executions = counts_by_state(session)
            workers = read_counters(session)
            audits = standings(session)
            waiting, past_end = retirements_waiting(session), links_past_their_end(session, utc_now())
    except (DatabaseAway, OperationalError, InterfaceError):
        # What is known without it is worth the more just then.
        metrics.forget_fleet()
    else:
        metrics.set_fleet(executions, presence, condition)
        metrics.set_ingest(workers)
        metrics.set_audit(audits.values())
        metrics.set_identities(retirements_waiting=waiting, links_past_their_end=past_end)
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _database(engine: Engine, standing: Standing) -> str:
    match standing.state:
        case DatabaseState.RESTORING:
            return "restoring"
        case DatabaseState.AWAY:
            return "not reachable"
        case DatabaseState.UP:
            pass
    try:
        with reading(engine) as session:
            session.execute(text("SELECT 1"))
    except (SQLAlchemyError, DatabaseAway):
        return "not reachable"
    return "ok"


def _migrations(engine: Engine) -> str:
    try:
        check_revision(engine)
    except (FleetError, SQLAlchemyError):
        return "not at the revision of this version"
    return "ok"


def openapi_responses() -> dict[int | str, dict[str, Any]]:
    """The refusals that every endpoint of the JSON door may give."""
    from fleet_server.kit.schemas import Problem

    said = {
        401: "no valid bearer token",
        403: "the role does not reach this",
        404: "not known here",
        409: "the present state does not allow it",
        413: "more than 1 MiB",
        422: "not understood",
        429: "too many requests; see `Retry-After`",
        503: "away or busy for now; see `Retry-After`",
    }
    return {status: {"model": Problem, "description": text_} for status, text_ in said.items()}
