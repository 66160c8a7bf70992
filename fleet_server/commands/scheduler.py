"""``fleet-server scheduler``: what happens because time passes."""

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption


def register(app: typer.Typer) -> None:
    app.command("scheduler")(scheduler)


def scheduler(data: DataOption = DEFAULT_DATA) -> None:
    """End or repeat what falls due, notice silence. Several may run: one works. Ends with SIGTERM or Ctrl-C."""
    import signal
    import threading

    from fleet_server.db import reachable_database
    from fleet_server.executions.dispatch import Dispatcher
    from fleet_server.logs import configure_logs
    from fleet_server.mqtt import ServerLink
    from fleet_server.scheduler import Scheduler
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings
    from fleet_server.signer.service import load_signer
    from protocol.broker_rules import SCHEDULER_NAMES

    configure_logs()
    settings = load_settings(data)
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        link = ServerLink(settings, SCHEDULER_NAMES[0], lambda _message: None)
        link.start()
        try:
            Scheduler(engine, settings, Dispatcher(load_signer(settings), settings), link).run(stop)
        finally:
            link.stop()
