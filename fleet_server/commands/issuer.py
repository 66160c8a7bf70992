"""``fleet-server issuer``: the process that has the issuing key."""

from pathlib import Path
from typing import Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption

# One that was made for an occasion gives way to one that stays, which waits until an occasion is over.
_WAIT_FOR_OTHER_S = 1.0
_WAIT_FOR_OCCASIONS_S = 60.0


def register(app: typer.Typer) -> None:
    app.command("issuer")(issuer)


def issuer(
    data: DataOption = DEFAULT_DATA,
    folder: Annotated[
        Path | None, typer.Option(help="Its own folder, of another user, for a socket that systemd opened.")
    ] = None,
) -> None:
    """Sign certificates for whoever may reach its socket. Ends with SIGTERM or Ctrl-C."""
    import os
    import signal
    import socket
    import threading

    from fleet_server.issuer.client import HANDED
    from fleet_server.issuer.folder import AuthorityPlaces
    from fleet_server.issuer.opening import places_of
    from fleet_server.issuer.process import listening, serve, serve_one
    from fleet_server.issuer.service import Issuer, alone
    from fleet_server.kit.times import utc_now
    from fleet_server.logs import configure_logs
    from fleet_server.settings import load_settings

    places = AuthorityPlaces(folder, folder) if folder is not None else places_of(load_settings(data))
    handed = os.environ.pop(HANDED, "")
    with alone(places, _WAIT_FOR_OTHER_S if handed else _WAIT_FOR_OCCASIONS_S):
        configure_logs()
        made = Issuer(places, utc_now)
        try:
            if handed:
                serve_one(made, socket.socket(fileno=int(handed)))
                return
            stop = threading.Event()
            for signum in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, lambda *_: stop.set())
            with listening(places.socket) as listener:
                serve(made, listener, stop)
        finally:
            made.close()
