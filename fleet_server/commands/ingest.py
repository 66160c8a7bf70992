"""``fleet-server ingest``: one worker at the device door."""

from typing import Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption

NameOption = Annotated[
    str, typer.Option("--name", help="Certificate of this worker; each worker needs one of its own.")
]


def register(app: typer.Typer) -> None:
    app.command("ingest")(ingest)


def ingest(data: DataOption = DEFAULT_DATA, name: NameOption = "svc-fleet-1") -> None:
    """Take what devices report, store it, and acknowledge it after the commit. Ends with SIGTERM or Ctrl-C."""
    import signal
    import threading

    from fleet_server.ingest.bootstrap import make_worker
    from fleet_server.logs import configure_logs
    from fleet_server.restoring import writing
    from fleet_server.settings import load_settings
    from fleet_server.signer.keys import load_key, until_replaced

    configure_logs()
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    with writing(data, stop):
        if not stop.is_set():
            settings = load_settings(data)
            seed = settings.keys_dir / "server.seed"
            in_use = load_key(seed).public_hex
            # Another key for acknowledgements has taken its place: whoever started this process starts it again.
            with make_worker(settings, name) as worker, until_replaced(seed, stop, lambda: in_use):
                worker.run(stop)
