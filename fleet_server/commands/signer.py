"""``fleet-server signer``: the only process that holds the online command key."""

from pathlib import Path
from typing import Annotated

import typer

FolderOption = Annotated[
    Path, typer.Option("--folder", metavar="DIR", envvar="TILLMEDIC_SIGNER", help="The signer's own folder.")
]


def register(app: typer.Typer) -> None:
    app.command("signer")(signer)
    app.command("signer-init")(signer_init)


def signer(folder: FolderOption) -> None:
    """Sign commands for the other processes, within its own caps. Ends with SIGTERM or Ctrl-C."""
    import signal
    import threading

    from fleet_server.kit.times import utc_now
    from fleet_server.logs import configure_logs
    from fleet_server.signer.bootstrap import opened_signer
    from fleet_server.signer.door import SignerDoor
    from fleet_server.signer.keys import until_replaced
    from fleet_server.signer.settings import load_signer_settings

    configure_logs()
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    settings = load_signer_settings(folder)
    # A restore brings the key back that terminals know: whoever started this process starts it again with that one.
    with (
        opened_signer(settings, utc_now()) as opened,
        until_replaced(settings.command_seed, stop, lambda: opened.key_public),
    ):
        SignerDoor(opened, settings, utc_now).serve(stop)


def signer_init(
    folder: FolderOption,
    socket: Annotated[str, typer.Option(help="Path of its socket.")],
    root: Annotated[Path, typer.Option("--root", metavar="FILE", help="The root's public key: root.pub.")],
    clients: Annotated[str, typer.Option(help="Users that may speak to it, separated by commas.")] = "",
    socket_group: Annotated[str, typer.Option(help="Group of the socket file.")] = "",
) -> None:
    """Make the folder of a signer that runs as a user of its own, and say its public key, which a policy must name."""
    from fleet_server.enrollment.signer_folder import make_signer_folder
    from fleet_server.signer.settings import SignerSettings

    wanted = SignerSettings(folder, socket, clients, socket_group)
    typer.echo(make_signer_folder(wanted, root))
