"""The wiring of the API process: doors, services and what they share, joined to one engine, one broker link, one hub.

Nothing here starts by being imported. The lifespan starts link and hubs, and stops them last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from threading import BoundedSemaphore
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Engine

from fleet_server import operations
from fleet_server.access import BURST, RATE_PER_S
from fleet_server.address_limit import AddressLimit
from fleet_server.approvals import endpoints as approvals
from fleet_server.approvals.broken_glass import BreakGlassWatch
from fleet_server.artifacts import door as artifacts_door
from fleet_server.assignments import endpoints as assignments
from fleet_server.audit import endpoints as audit
from fleet_server.auth.stays import Stays
from fleet_server.body_limit import BodyLimit
from fleet_server.console.router import mount_console
from fleet_server.databases import Databases
from fleet_server.devices import endpoints as devices
from fleet_server.devices.service import CapabilityCache
from fleet_server.enrollment import door as enrolment_door
from fleet_server.enrollment import endpoints as enrolments
from fleet_server.enrollment import retirement_endpoints as retirements
from fleet_server.enrollment.ends import EndsWatch
from fleet_server.executions import endpoints as executions
from fleet_server.executions import override_endpoints
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.outbound import Outbound
from fleet_server.faults import endpoints as faults
from fleet_server.freezes import endpoints as freezes
from fleet_server.freezes.watching import FreezeWatch
from fleet_server.health import distribution_endpoints, export_answer, export_endpoints
from fleet_server.health import endpoints as health
from fleet_server.ingest import endpoints as dead_letters
from fleet_server.inspections import endpoints as inspections
from fleet_server.issuer.client import IssuerClient
from fleet_server.issuer.opening import issuer_of
from fleet_server.kit.conflicts import Conflicts
from fleet_server.kit.rate_limit import TokenBuckets
from fleet_server.live import endpoints as live_mode
from fleet_server.live.asker import LiveAsker
from fleet_server.live.hub import LiveHub
from fleet_server.metrics import CountRequests, ServerMetrics
from fleet_server.mqtt import ServerLink
from fleet_server.playbooks import endpoints as playbooks
from fleet_server.problems import add_problem_answers
from fleet_server.security_headers import SecurityHeaders
from fleet_server.settings import ServerSettings
from fleet_server.signer import endpoints as signing
from fleet_server.signer.bootstrap import signer_client
from fleet_server.signer.service import Signs
from fleet_server.sites import endpoints as sites
from fleet_server.stream_places import StreamPlaces
from fleet_server.tenants import endpoints as tenants
from fleet_server.timeline import endpoints as timeline
from fleet_server.timeline.hub import EventHub

_DESCRIPTION = """Finds out what is wrong with a payment terminal, fixes it from afar and proves it.

Send `Authorization: Bearer TOKEN`. Lists answer `{items, next}`; give `next` back as `cursor`. Refusals answer
`{code, detail}`. Event streams are `text/event-stream`; ids of events are the same on every stream and resume by
`Last-Event-ID`."""

_DOORS = (
    executions,
    override_endpoints,
    inspections,
    freezes,
    playbooks,
    devices,
    timeline,
    health,
    distribution_endpoints,
    export_endpoints,
    faults,
    live_mode,
    approvals,
    signing,
    dead_letters,
    audit,
    enrolments,
    enrolment_door,
    artifacts_door,
    retirements,
    sites,
    assignments,
    tenants,
)


def create_app(
    settings: ServerSettings,
    engine: Engine,
    link: ServerLink | None,
    hub: EventHub,
    signer: Signs | None = None,
    live: LiveHub | None = None,
    databases: Databases | None = None,
    issuer: IssuerClient | None = None,
) -> FastAPI:
    """``link`` None: commands stay queued for another to send. ``live`` None: nothing live arrives. ``databases``
    None: no standby, and no restore to give way to.
    """
    live = live or LiveHub()
    app = FastAPI(
        title="Tillmedic fleet server",
        version=version("tillmedic"),
        description=_DESCRIPTION,
        lifespan=lambda app: _running(app, link, hub, live),
        docs_url=None,  # it loads scripts from other hosts
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.databases = databases or Databases(engine)
    app.state.engine = app.state.databases.engine
    app.state.hub = hub
    app.state.live = live
    app.state.signer = signer or signer_client(settings)
    app.state.dispatcher = Dispatcher(app.state.signer)
    app.state.issuer = issuer or issuer_of(settings)
    app.state.outbound = Outbound(link, hub.notify)
    _add_what_requests_share(app)
    for door in _DOORS:
        app.include_router(door.router, responses=operations.openapi_responses())
    app.include_router(operations.router)
    _describe_security(app)
    add_problem_answers(app)
    mount_console(app)
    _add_layers(app, settings)
    return app


@asynccontextmanager
async def _running(app: FastAPI, link: ServerLink | None, hub: EventHub, live: LiveHub) -> AsyncIterator[None]:
    databases: Databases = app.state.databases
    databases.start()
    await hub.start()
    live.start()
    app.state.stays.start()
    try:
        async with _connected(link, live):
            yield
    finally:
        await app.state.stays.stop()
        await live.stop()
        await hub.stop()
        await databases.stop()
        app.state.dispatcher.close()


@asynccontextmanager
async def _connected(link: ServerLink | None, live: LiveHub) -> AsyncIterator[None]:
    """The broker, and the word to it of who is watched."""
    if link is None:
        yield
        return
    link.start()
    asking = asyncio.create_task(LiveAsker(live, link.publish).run(), name="live asker")
    try:
        yield
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        link.stop()


def _add_layers(app: FastAPI, settings: ServerSettings) -> None:
    app.add_middleware(BodyLimit)
    app.add_middleware(AddressLimit, requests_per_s=settings.http_requests_per_s_per_address, exempt=settings.proxies)
    app.add_middleware(CountRequests, metrics=app.state.metrics)
    # Around what the framework itself says of mistakes, which no layer that is added may be.
    made_by_framework = app.build_middleware_stack
    app.build_middleware_stack = lambda: SecurityHeaders(made_by_framework())  # type: ignore[method-assign]  # see above


def _add_what_requests_share(app: FastAPI) -> None:
    app.state.stays = Stays(app.state.engine)
    app.state.metrics = ServerMetrics()
    app.state.broken_glass = BreakGlassWatch(app.state.engine)
    app.state.freezes = FreezeWatch(app.state.engine)
    app.state.ends = EndsWatch(app.state.settings)
    app.state.buckets = TokenBuckets(rate_per_s=RATE_PER_S, burst=BURST)
    app.state.capability_cache = CapabilityCache()
    app.state.conflicts = Conflicts()
    app.state.stream_places = StreamPlaces()
    app.state.exports = BoundedSemaphore(export_answer.MAX_AT_ONCE)
    app.state.guesses = TokenBuckets(rate_per_s=enrolment_door.GUESSES_PER_S, burst=enrolment_door.GUESSES)


def _describe_security(app: FastAPI) -> None:
    made_by_framework = app.openapi

    def openapi() -> dict[str, Any]:
        document = made_by_framework()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["bearer"] = {"type": "http", "scheme": "bearer"}
        for path, methods in document["paths"].items():
            if path.startswith("/api/"):
                for operation in methods.values():
                    operation["security"] = [{"bearer": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way of changing the document
