"""``fleet-server init``: prepares the state folder; may be called again at any time."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_server.commands.options import DATABASE_URL, DEFAULT_DATA, DataOption, JsonOption

if TYPE_CHECKING:
    from fleet_server.enrollment.installation import Installation

Port = Annotated[int | None, typer.Option(min=1, max=65535)]


def register(app: typer.Typer) -> None:
    app.command("init")(init)


def init(
    data: DataOption = DEFAULT_DATA,
    fleet: Annotated[Path | None, typer.Option(metavar="FILE", help="Fleet file to import (JSON).")] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose devices the fleet file names; left out: the installation's.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(envvar=DATABASE_URL, help="sqlite:///PATH or postgresql+psycopg://…")
    ] = None,
    mqtt_host: Annotated[str | None, typer.Option(help="Address the broker listens on.")] = None,
    mqtt_port: Port = None,
    http_host: Annotated[str | None, typer.Option(help="Address of console and API; https unless loopback.")] = None,
    http_port: Port = None,
    approval_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve the approval page there, at the address of the console.")
    ] = None,
    *,
    demo: Annotated[bool, typer.Option("--demo", help="Demo people, token, approver and panel.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make keys, certificates, broker files, people and database; enrol a fleet file."""
    from fleet_server.auth.passwords import Passwords
    from fleet_server.enrollment.installation import install
    from fleet_server.enrollment.settings_file import Wishes
    from fleet_server.kit.times import utc_now

    wishes = Wishes(database_url, mqtt_host, mqtt_port, http_host, http_port, approval_port, demo or None)
    made = install(data, wishes, fleet, utc_now(), Passwords.standard(), of_tenant=tenant)
    typer.echo(json.dumps(_as_json(made), ensure_ascii=False) if as_json else _in_words(made))


def _as_json(made: "Installation") -> dict[str, Any]:
    return {
        "broker_config": str(made.broker_config),
        "users": [
            {"name": one.name, "password": one.password, "role": one.role.value}
            | ({"set_up_code": one.set_up_code} if one.set_up_code else {})
            for one in made.people
        ],
        "api_token": made.api_token,
        "url": made.settings.url,
        "mqtt_port": made.settings.mqtt_port,
        "devices": {
            key: {"id": one.id, "bundle": str(one.bundle) if one.bundle else None} for key, one in made.devices.items()
        },
    }


def _in_words(made: "Installation") -> str:
    lines = [f"Ready in {made.settings.data}: {len(made.devices)} devices enrolled, console at {made.settings.url}"]
    new = [one for one in made.people if one.password]
    if new:
        lines.append("New people (these passwords are shown once):")
        lines += [f"  {one.name:<12} {one.password}" for one in new]
    lines += [
        f"Person {one.name}: choose a password at {made.settings.url}/set-up with this code (shown once, good once,"
        f" 72 hours; another by 'fleet-server people set-up {one.name}'): {one.set_up_code}"
        for one in made.people
        if one.set_up_code
    ]
    if made.api_token:
        lines.append(f"API token (shown once): {made.api_token}")
    lines.append(f"Start the broker: mosquitto -c {made.broker_config}")
    lines.append(f"Then the server:  fleet-server run --data {made.settings.data}")
    return "\n".join(lines)
