"""``fleet-server scheduler``: what happens because time passes."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption

if TYPE_CHECKING:
    import threading


def register(app: typer.Typer) -> None:
    app.command("scheduler")(scheduler)


def scheduler(data: DataOption = DEFAULT_DATA) -> None:
    """End or repeat what falls due, notice silence. Several may run: one works. Ends with SIGTERM or Ctrl-C."""
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
            _schedule(data, stop)


def _schedule(data: Path, stop: "threading.Event") -> None:
    import threading

    from fleet_server.db import reachable_database
    from fleet_server.enrollment.enforcing import Enforcer
    from fleet_server.executions.dispatch import Dispatcher
    from fleet_server.issuer.opening import opened_issuer
    from fleet_server.mqtt import ServerLink
    from fleet_server.scheduler import Scheduler
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings
    from fleet_server.signer.bootstrap import signer_client
    from protocol.broker_rules import SCHEDULER_NAMES

    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        link = ServerLink(settings, SCHEDULER_NAMES[0], lambda _message: None)
        dispatcher = Dispatcher(signer_client(settings))
        link.start()
        try:
            made = Scheduler(engine, settings, dispatcher, link)
            with opened_issuer(settings) as issuer:
                enforcer = Enforcer(engine, settings, issuer, lambda: made.leads)
                shutting_out = threading.Thread(target=enforcer.run, args=(stop,), name="enforcer")
                shutting_out.start()
                try:
                    made.run(stop)
                finally:
                    stop.set()
                    shutting_out.join()
        finally:
            link.stop()
            dispatcher.close()
