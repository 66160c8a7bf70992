"""The wiring of the approval page's process: its door, its files, the database and the signer's socket.

It has no link to the broker: what it approves is due at once, and the scheduler sends it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Response
from sqlalchemy import Engine

from fleet_server.address_limit import AddressLimit
from fleet_server.approvals.page import endpoints
from fleet_server.approvals.page.files import PageFile, content_security_policy, load_files
from fleet_server.approvals.page.sessions import Marks, own_origin_only
from fleet_server.body_limit import BodyLimit
from fleet_server.databases import Databases
from fleet_server.devices.service import CapabilityCache
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.outbound import Outbound
from fleet_server.kit.conflicts import Conflicts
from fleet_server.problems import add_problem_answers
from fleet_server.security_headers import SecurityHeaders
from fleet_server.settings import ServerSettings
from fleet_server.signer.bootstrap import signer_client
from fleet_server.signer.service import Signs


def create_approval_page(settings: ServerSettings, engine: Engine, signer: Signs | None = None) -> FastAPI:
    """``settings.approval_url``: the one origin under which it answers."""
    databases = Databases(engine)
    dispatcher = Dispatcher(signer or signer_client(settings))
    app = FastAPI(
        title="Tillmedic approvals",
        lifespan=lambda _app: _running(databases, dispatcher),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.databases = databases
    app.state.engine = databases.engine
    app.state.dispatcher = dispatcher
    app.state.outbound = Outbound(None, lambda: None)
    app.state.capability_cache = CapabilityCache()
    app.state.conflicts = Conflicts()
    app.state.marks = Marks()
    for path, file in load_files().items():
        app.get(path, dependencies=[Depends(own_origin_only)])(_served(file))
    app.include_router(endpoints.router)
    add_problem_answers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(AddressLimit, requests_per_s=settings.http_requests_per_s_per_address, exempt=settings.proxies)
    # Around what the framework itself says of mistakes, which no layer that is added may be.
    made_by_framework, policy = app.build_middleware_stack, content_security_policy()
    app.build_middleware_stack = lambda: SecurityHeaders(made_by_framework(), policy)  # type: ignore[method-assign]  # see above
    return app


def _served(file: PageFile) -> Callable[[], Response]:
    def serve() -> Response:
        return Response(file.content, media_type=file.media_type)

    return serve


@asynccontextmanager
async def _running(databases: Databases, dispatcher: Dispatcher) -> AsyncIterator[None]:
    databases.start()
    try:
        yield
    finally:
        await databases.stop()
        dispatcher.close()
