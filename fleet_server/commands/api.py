"""``fleet-server api``: console and JSON door over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from fleet_server.databases import Databases
    from fleet_server.restoring import WritersPlace
    from fleet_server.settings import ServerSettings

NameOption = Annotated[
    str, typer.Option("--name", help="Certificate of this process; each replica needs one of its own.")
]


def register(app: typer.Typer) -> None:
    app.command("api")(api)


def api(data: DataOption = DEFAULT_DATA, name: NameOption = "svc-api-1") -> None:
    """Serve console and API. Ends with SIGTERM or Ctrl-C."""
    import uvicorn

    from fleet_server.app import create_app
    from fleet_server.db import reachable_database
    from fleet_server.http_server import StreamingServer
    from fleet_server.live.hub import LiveHub
    from fleet_server.live.link import api_link
    from fleet_server.logs import configure_logs
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings
    from fleet_server.timeline.hub import EventHub

    configure_logs()
    with _may_write(data) as place:
        # Read when no restore is at work: it brings settings back too.
        settings = load_settings(data)
        with reachable_database(settings.database_url) as engine:
            check_revision(engine)
            databases = _databases(settings, engine, place)
            hub, live = EventHub(databases.engine), LiveHub()
            link = api_link(settings, name, hub, live)
            app = create_app(settings, engine, link, hub, live=live, databases=databases)
            with suppress(KeyboardInterrupt):
                StreamingServer(uvicorn.Config(app, **_options(settings)), hub, live).run()


@contextmanager
def _may_write(data: Path) -> "Iterator[WritersPlace]":
    """Begins when no restore is at work. Given up for one that begins later, while pages are still read."""
    import time

    from fleet_server.restoring import LOOK_EVERY_S, WritersPlace

    place = WritersPlace(data)
    while not place.take():
        time.sleep(LOOK_EVERY_S)
    try:
        yield place
    finally:
        place.leave()


def _databases(settings: "ServerSettings", engine: "Engine", place: "WritersPlace") -> "Databases":
    import os
    import signal

    from fleet_server.databases import Databases
    from fleet_server.db import open_engine
    from fleet_server.restoring import restoring_since

    return Databases(
        engine,
        open_engine(settings.read_database_url) if settings.read_database_url else None,
        restoring_since=lambda: restoring_since(settings.data),
        on_quiet=place.leave,
        # Keys and settings may be others now: whoever started this process starts it again.
        on_restored=lambda: os.kill(os.getpid(), signal.SIGTERM),
    )


def _options(settings: "ServerSettings") -> dict[str, Any]:
    options: dict[str, Any] = {
        "host": settings.http_host,
        "port": settings.http_port,
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        "timeout_graceful_shutdown": 2,
    }
    if settings.url.startswith("https:"):
        options["ssl_certfile"] = str(settings.tls_dir / "http.crt")
        options["ssl_keyfile"] = str(settings.tls_dir / "http.key")
    return options
