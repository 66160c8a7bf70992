"""``fleet-server migrate``: brings the database to the schema of this version."""

import json

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption


def register(app: typer.Typer) -> None:
    app.command("migrate")(migrate)


def migrate(data: DataOption = DEFAULT_DATA, *, as_json: JsonOption = False) -> None:
    """Upgrade the database under a lock; a database of a later version is left alone."""
    from fleet_server.db import reachable_database
    from fleet_server.migrate import upgrade
    from fleet_server.settings import load_settings

    with reachable_database(load_settings(data).database_url) as engine:
        found, reached = upgrade(engine)
    if as_json:
        typer.echo(json.dumps({"from": found, "to": reached}))
    elif found == reached:
        typer.echo(f"The database is at revision {reached} already.")
    else:
        typer.echo(f"The database went from {found or 'nothing'} to revision {reached}.")
