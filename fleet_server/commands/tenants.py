"""``fleet-server tenants``: the acquirers and service companies of this installation, from the machine itself.

Whoever may read the state folder is the operator: these commands ask for no other proof, and the audit says ``system``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption, as_system

if TYPE_CHECKING:
    from fleet_server.settings import ServerSettings
    from fleet_server.tenants.models import Tenant
    from fleet_server.tenants.service import TenantService

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the tenant: a-z, 0-9 and -.")]
NameArgument = Annotated[str, typer.Argument(help="What people call it.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The tenants of this installation.", no_args_is_help=True)
    for name, command in (("list", list_), ("add", add), ("rename", rename), ("suspend", suspend), ("resume", resume)):
        group.command(name)(command)
    group.command("visit")(visit)
    app.add_typer(group, name="tenants")


def list_(data: DataOption = DEFAULT_DATA, *, as_json: JsonOption = False) -> None:
    """Which there are."""
    with _tenants(data) as (tenants, _settings):
        found = tenants.list()
    if as_json:
        typer.echo(json.dumps([_as_json(one) for one in found], ensure_ascii=False))
    for one in () if as_json else found:
        state = "" if one.suspended_at is None else f"suspended since {one.suspended_at:%Y-%m-%d %H:%M} UTC"
        typer.echo(f"{one.id:<32} {one.name}  {state}".rstrip())


def add(
    tenant_id: IdArgument,
    name: NameArgument,
    admin: Annotated[str, typer.Option("--admin", metavar="NAME", help="Its first administrator, who is made.")],
    data: DataOption = DEFAULT_DATA,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a tenant, its first administrator, and a code (shown once, good once, 72 hours) to choose a password by."""
    with _tenants(data) as (tenants, settings):
        made = tenants.add(tenant_id, name, admin)
    address = f"{settings.url}/set-up"
    if as_json:
        known = {"id": tenant_id, "name": name, "admin": made.name}
        typer.echo(json.dumps({**known, "set_up_code": made.set_up_code, "url": address}, ensure_ascii=False))
    else:
        typer.echo(f"Tenant {tenant_id} is there.")
        typer.echo(f"{made.name} chooses a password at {address} with this code (shown once): {made.set_up_code}")


def rename(tenant_id: IdArgument, name: NameArgument, data: DataOption = DEFAULT_DATA) -> None:
    """Give a tenant another name; its id stays."""
    with _tenants(data) as (tenants, _settings):
        tenants.rename(tenant_id, name)
    typer.echo(f"{tenant_id} is called {name}.")


def suspend(
    tenant_id: IdArgument,
    reason: Annotated[str, typer.Option("--reason", help="For the audit of the tenant and of the installation.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Let nobody of it in and send its terminals nothing; what they report is kept. 'resume' takes it back."""
    with _tenants(data) as (tenants, _settings):
        tenants.suspend(tenant_id, reason)
    typer.echo(f"{tenant_id} is suspended: sign-ins and tokens are refused, what its terminals report is kept.")


def resume(tenant_id: IdArgument, data: DataOption = DEFAULT_DATA) -> None:
    """Let a suspended tenant in again."""
    with _tenants(data) as (tenants, _settings):
        tenants.resume(tenant_id)
    typer.echo(f"{tenant_id} is let in again.")


def visit(
    tenant_id: IdArgument,
    url: Annotated[str, typer.Option(envvar="TILLMEDIC_URL", help="Address of the server.")],
    token: Annotated[str, typer.Option(envvar="TILLMEDIC_TOKEN", help="API token of an operator.")],
    data: DataOption = DEFAULT_DATA,
    *,
    as_json: JsonOption = False,
) -> None:
    """A token for an hour that looks into another tenant, over the API; that tenant's audit says so."""
    from fleet_server.commands.connection import connect

    made = connect(url, token, data).post("/api/v1/visits", {"tenant": tenant_id})
    if as_json:
        typer.echo(json.dumps(made, ensure_ascii=False))
    else:
        typer.echo(f"Looks into {tenant_id} until {made['until']} (shown once; runs nothing there):")
        typer.echo(f"export TILLMEDIC_TOKEN={made['token']}")


@contextmanager
def _tenants(data: Path) -> "Iterator[tuple[TenantService, ServerSettings]]":
    from fleet_server.db import reachable_database, transaction
    from fleet_server.kit.times import utc_now
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings
    from fleet_server.tenants.service import TenantService

    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        with transaction(engine) as session:
            yield TenantService(session, as_system(session, settings), utc_now()), settings


def _as_json(one: "Tenant") -> dict[str, Any]:
    since = None if one.suspended_at is None else one.suspended_at.isoformat()
    return {"id": one.id, "name": one.name, "created_at": one.created_at.isoformat(), "suspended_at": since}
