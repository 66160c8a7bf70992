"""``fleet-server approval-page``: the page where approvers sign in their browser, under an origin of its own."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption

if TYPE_CHECKING:
    import threading


def register(app: typer.Typer) -> None:
    app.command("approval-page")(approval_page)


def approval_page(data: DataOption = DEFAULT_DATA) -> None:
    """Serve the approval page at approval_url of server/fleet.toml. Ends with SIGTERM or Ctrl-C."""
    import signal
    import threading

    from fleet_server.logs import configure_logs
    from fleet_server.restoring import writing

    configure_logs()
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    with writing(data, stop):
        if not stop.is_set():
            _serve(data, stop)


def _serve(data: Path, stop: "threading.Event") -> None:
    from dataclasses import replace
    from threading import Thread

    from fleet_server.approvals.page.app import create_approval_page
    from fleet_server.db import reachable_database
    from fleet_server.errors import SettingsInvalid
    from fleet_server.http_server import StreamingServer, server_config
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    if not settings.approval_url:
        raise SettingsInvalid(f"{data / 'server' / 'fleet.toml'}: approval_url: expected the page's address, came ''")
    own = replace(
        settings, url=settings.approval_url, http_host=settings.approval_host, http_port=settings.approval_port
    )
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        server = StreamingServer(server_config(create_approval_page(settings, engine), own))

        def end() -> None:
            """A restore begins, or a signal came before the server took them over."""
            stop.wait()
            server.end()

        Thread(target=end, daemon=True).start()
        server.run()
