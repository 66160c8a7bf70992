"""``fleet-server api``: console and JSON door over HTTP."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption

if TYPE_CHECKING:
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
    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        hub, live = EventHub(engine), LiveHub()
        link = api_link(settings, name, hub, live)
        config = uvicorn.Config(create_app(settings, engine, link, hub, live=live), **_options(settings))
        with suppress(KeyboardInterrupt):
            StreamingServer(config, hub, live).run()


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
