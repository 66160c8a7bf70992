"""``fleet-server run``: the whole server as child processes.

This process loads neither framework nor database: children begin at once, and one that finds its database missing or
of another revision says so.
"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption
from protocol.broker_rules import INGEST_NAMES, MAX_INGEST_WORKERS

if TYPE_CHECKING:
    from fleet_server.settings import ServerSettings
    from fleet_server.supervisor import ChildSpec


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    data: DataOption = DEFAULT_DATA,
    ingest: Annotated[int, typer.Option(min=1, max=MAX_INGEST_WORKERS, help="Number of ingest processes.")] = 1,
    wait_broker_s: Annotated[float, typer.Option(min=0, help="How long to wait for the broker.")] = 10.0,
) -> None:
    """Run signer, API, ingest and scheduler; start again what dies; stop all on Ctrl-C."""
    from fleet_server import preflight
    from fleet_server.enrollment.signer_folder import adopt_command_key
    from fleet_server.kit.times import utc_now
    from fleet_server.settings import load_settings
    from fleet_server.supervisor import Supervisor

    settings = load_settings(data)
    preflight.check_clock(settings, utc_now())
    _renew(settings)
    # It lies with the other keys where earlier versions had it.
    adopt_command_key(settings)
    preflight.check_http_ports(settings)
    for remark in preflight.check_broker_rules(settings):
        typer.echo(remark)
    readiness = preflight.Readiness(settings, wait_broker_s)
    supervisor = Supervisor(
        _children(settings, ingest),
        data / "logs",
        is_ready=readiness.is_reached,
        say=typer.echo,
        on_ready=f"Ready: {settings.url}",
        on_hour=lambda: _renew_or_say(settings),
    )
    supervisor.run()


def _renew_or_say(settings: "ServerSettings") -> bool:
    """What runs goes on: without a certificate that is due it can do more than it could stopped."""
    from fleet_server.errors import FleetError

    try:
        return _renew(settings)
    except (FleetError, OSError) as error:
        typer.echo(f"Certificates could not be renewed, trying again in an hour: {error}")
        return False


def _renew(settings: "ServerSettings") -> bool:
    """Whether our own processes must read certificates again."""
    from fleet_server.enrollment.tls_files import OF_BROKER, hang_up, renew_certificates
    from fleet_server.kit.times import utc_now

    renewed = renew_certificates(settings, utc_now())
    for_broker = OF_BROKER.intersection(renewed)
    for name in for_broker if for_broker and not hang_up(settings.data / "broker") else ():
        what = "certificate" if name == "broker" else name
        typer.echo(f"The broker has a new {what}: send SIGHUP to mosquitto.")
    return bool(set(renewed) - OF_BROKER)


def _children(settings: "ServerSettings", ingest: int) -> "list[ChildSpec]":
    from fleet_server.supervisor import ChildSpec

    def command(name: str, *more: str) -> list[str]:
        return [sys.executable, "-m", "fleet_server", name, "--data", str(settings.data), *more]

    # First: whoever sends commands asks it.
    signing = [sys.executable, "-m", "fleet_server", "signer", "--folder", str(settings.signer_dir)]
    workers = [ChildSpec(f"ingest-{n + 1}", command("ingest", "--name", INGEST_NAMES[n])) for n in range(ingest)]
    issuer = [] if settings.issuer_socket else [ChildSpec("issuer", command("issuer"))]
    signer = [] if settings.signer_elsewhere else [ChildSpec("signer", signing)]
    page = [ChildSpec("approval-page", command("approval-page"))] if settings.approval_url else []
    others = [ChildSpec(name, command(name)) for name in ("api", "scheduler")]
    return [*signer, *issuer, *workers, *others, *page]
