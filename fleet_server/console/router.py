"""Joins the console to the program: pages, static files, problem pages.

`mount_console` is called last in `fleet_server.app`. It expects `app.state.engine`, `app.state.settings` and, for live
pages, `app.state.hub`.
"""

from fastapi import APIRouter, FastAPI, Response
from starlette.responses import PlainTextResponse

from fleet_server.console.assets import load_assets
from fleet_server.console.pages import (
    account,
    assignments,
    confirming,
    demo,
    device,
    distribution,
    enrolment,
    entrance,
    fleet,
    freezes,
    health,
    inspections,
    oidc,
    overrides,
    people,
    personal_data,
    playbooks,
    records,
    run,
    search,
    signing,
    sites,
    streams,
    tenants,
)
from fleet_server.console.problems import add_problem_pages

_PAGES = (
    streams,
    entrance,
    confirming,
    account,
    people,
    personal_data,
    oidc,
    fleet,
    device,
    playbooks,
    health,
    distribution,
    run,
    overrides,
    inspections,
    freezes,
    search,
    records,
    enrolment,
    sites,
    assignments,
    signing,
    tenants,
    demo,
)
_FOR_EVER = "public, max-age=31536000, immutable"

static = APIRouter(include_in_schema=False)


@static.get("/static/{name:path}")
def static_file(name: str, v: str = "") -> Response:
    asset = load_assets().get(name)
    if asset is None:
        return PlainTextResponse("not found", status_code=404)
    cache = _FOR_EVER if v == asset.digest else "no-cache"
    return Response(asset.content, media_type=asset.content_type, headers={"Cache-Control": cache})


def mount_console(app: FastAPI) -> None:
    app.include_router(static)
    for page in _PAGES:
        app.include_router(page.router)
    add_problem_pages(app)
