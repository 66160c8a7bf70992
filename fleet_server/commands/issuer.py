"""``fleet-server issuer``: the process that has the issuing key."""

from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption

if TYPE_CHECKING:
    from fleet_server.issuer.folder import AuthorityPlaces

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

    from fleet_server.issuer.client import HANDED
    from fleet_server.issuer.folder import AuthorityPlaces
    from fleet_server.issuer.opening import places_of
    from fleet_server.logs import configure_logs
    from fleet_server.settings import load_settings

    def places() -> AuthorityPlaces:
        return AuthorityPlaces(folder, folder) if folder is not None else places_of(load_settings(data))

    configure_logs()
    if handed := os.environ.pop(HANDED, ""):
        _serve_occasion(places(), int(handed))
    else:
        # A restore replaces the folder within the data, ledger and socket included; it knows nothing of one elsewhere.
        _stay(places, None if folder is not None else data)


def _serve_occasion(places: "AuthorityPlaces", descriptor: int) -> None:
    import socket

    from fleet_server.issuer.process import serve_one
    from fleet_server.issuer.service import Issuer, alone
    from fleet_server.kit.times import utc_now

    with alone(places, _WAIT_FOR_OTHER_S), closing(Issuer(places, utc_now)) as made:
        serve_one(made, socket.socket(fileno=descriptor))


def _stay(places: "Callable[[], AuthorityPlaces]", gives_way_in: Path | None) -> None:
    import signal
    import threading

    from fleet_server.issuer.process import listening, serve
    from fleet_server.issuer.service import Issuer, alone
    from fleet_server.kit.times import utc_now
    from fleet_server.restoring import writing

    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    with nullcontext() if gives_way_in is None else writing(gives_way_in, stop):
        if stop.is_set():
            return
        here = places()
        with (
            alone(here, _WAIT_FOR_OCCASIONS_S),
            closing(Issuer(here, utc_now)) as made,
            listening(here.socket) as listener,
        ):
            serve(made, listener, stop)
