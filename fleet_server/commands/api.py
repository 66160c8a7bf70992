"""``fleet-server api``: console and JSON door over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from fleet_server.db import reachable_database
    from fleet_server.errors import DatabaseUnreachable
    from fleet_server.logs import configure_logs
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings

    configure_logs()
    with _may_write(data) as place:
        # Read when no restore is at work: it brings settings back too.
        settings = load_settings(data)
        while True:
            try:
                with reachable_database(settings.database_url) as engine:
                    check_revision(engine)
                    _serve(settings, name, engine, place)
                    return
            except DatabaseUnreachable as error:
                if not _may_come(settings, error):
                    raise
                if not _serve_without(settings, name, place, str(error)):
                    return


def _may_come(settings: "ServerSettings", error: Exception) -> bool:
    """A server that does not answer yet; a file that cannot be opened, or an address that is none, is a mistake."""
    from sqlalchemy.exc import OperationalError

    return not settings.database_url.startswith("sqlite") and isinstance(error.__cause__, OperationalError)


def _serve_without(settings: "ServerSettings", name: str, place: "WritersPlace", said: str) -> bool:
    """Pages that say so, or a standby's, until the database comes; False when the process is to end instead."""
    import structlog

    from fleet_server.db import open_engine

    structlog.get_logger(__name__).warning("started without the database, waiting for it", error=said)
    engine = open_engine(settings.database_url)
    try:
        return _serve(settings, name, engine, place, is_there=False)
    finally:
        engine.dispose()


def _serve(
    settings: "ServerSettings", name: str, engine: "Engine", place: "WritersPlace", *, is_there: bool = True
) -> bool:
    """Until it is stopped, or True when the database has come that was not there."""
    from fleet_server.app import create_app
    from fleet_server.http_server import StreamingServer, server_config
    from fleet_server.live.hub import LiveHub
    from fleet_server.live.link import api_link
    from fleet_server.timeline.hub import EventHub

    has_come = False

    def come() -> None:
        nonlocal has_come
        has_come = True
        server.end()

    databases = _databases(settings, engine, place, None if is_there else come)
    hub, live = EventHub(databases.engine), LiveHub()
    app = create_app(settings, engine, api_link(settings, name, hub, live), hub, live=live, databases=databases)
    server = StreamingServer(server_config(app, settings), hub, live)
    with suppress(KeyboardInterrupt):
        server.run()
    return has_come


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


def _databases(
    settings: "ServerSettings", engine: "Engine", place: "WritersPlace", on_come: "Callable[[], None] | None"
) -> "Databases":
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
        on_come=on_come,
    )
