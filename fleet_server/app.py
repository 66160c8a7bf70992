"""The wiring of the API process: doors, services and what they share, joined to one engine, one broker link, one hub.

Nothing here starts by being imported. The lifespan starts link and hub, and stops them last.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Engine

from fleet_server import operations
from fleet_server.access import BURST, RATE_PER_S
from fleet_server.console.router import mount_console
from fleet_server.devices import endpoints as devices
from fleet_server.devices.service import CapabilityCache
from fleet_server.executions import endpoints as executions
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.outbound import Outbound
from fleet_server.faults import endpoints as faults
from fleet_server.health import endpoints as health
from fleet_server.kit.rate_limit import TokenBuckets
from fleet_server.metrics import CountRequests, ServerMetrics
from fleet_server.mqtt import ServerLink
from fleet_server.problems import add_problem_answers
from fleet_server.settings import ServerSettings
from fleet_server.signer.service import Signer, load_signer
from fleet_server.timeline import endpoints as timeline
from fleet_server.timeline.hub import EventHub

_DESCRIPTION = """Finds out what is wrong with a payment terminal, fixes it from afar and proves it.

Send `Authorization: Bearer TOKEN`. Lists answer `{items, next}`; give `next` back as `cursor`. Refusals answer
`{code, detail}`. Event streams are `text/event-stream`; ids of events are the same on every stream and resume by
`Last-Event-ID`."""


def create_app(
    settings: ServerSettings, engine: Engine, link: ServerLink | None, hub: EventHub, signer: Signer | None = None
) -> FastAPI:
    """``link`` None: commands stay queued for another process to send."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await hub.start()
        if link is not None:
            link.start()
        try:
            yield
        finally:
            if link is not None:
                link.stop()
            await hub.stop()

    app = FastAPI(
        title="Tillmedic fleet server",
        version=version("tillmedic"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # it loads scripts from other hosts
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.engine = engine
    app.state.hub = hub
    app.state.dispatcher = Dispatcher(signer or load_signer(settings), settings)
    app.state.outbound = Outbound(link, hub.notify)
    _add_what_requests_share(app)
    for door in (executions, devices, timeline, health, faults):
        app.include_router(door.router, responses=operations.openapi_responses())
    app.include_router(operations.router)
    _describe_security(app)
    add_problem_answers(app)
    mount_console(app)
    app.add_middleware(CountRequests, metrics=app.state.metrics)
    return app


def _add_what_requests_share(app: FastAPI) -> None:
    app.state.metrics = ServerMetrics()
    app.state.buckets = TokenBuckets(rate_per_s=RATE_PER_S, burst=BURST)
    app.state.capability_cache = CapabilityCache()


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
