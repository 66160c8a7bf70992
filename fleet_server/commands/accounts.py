"""``fleet-server passwd`` and ``fleet-server token``: people and programs, from the machine itself.

Whoever may read the state folder is the operator: these commands ask for no other proof, and the audit says ``system``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.auth.errors import PersonUnknown
from fleet_server.auth.roles import Permission, Role
from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption, TenantOption, as_system

if TYPE_CHECKING:
    from fleet_server.auth.accounts import Accounts


NameArgument = Annotated[str, typer.Argument(help="Name of the person or program.")]


def register(app: typer.Typer) -> None:
    app.command("passwd")(passwd)
    app.command("token")(token)


def passwd(
    name: NameArgument,
    role: Annotated[Role | None, typer.Option("--role", help="A new name becomes a person with this role.")] = None,
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Give a person a new random password, ending all sessions; with --role also to a new person."""
    from fleet_server.auth.passwords import Passwords, readable_password

    password = readable_password()
    # Before the transaction, because it is slow.
    hashed = Passwords.standard().hash(password)
    with _accounts(data, tenant) as accounts:
        is_new = not accounts.set_password(name, hashed)
        if is_new:
            # A slip of the pen must not make somebody.
            if role is None:
                raise PersonUnknown(f"there is nobody named {name}: give --role to make a new person")
            accounts.add_person(name, hashed, role)
        elif role is not None:
            accounts.set_role(name, role)
    if as_json:
        typer.echo(json.dumps({"name": name, "password": password, "new": is_new}, ensure_ascii=False))
    else:
        typer.echo(f"{'New person' if is_new else 'New password for'} {name} (shown once): {password}")


def token(
    name: NameArgument,
    role: Annotated[Role, typer.Option("--role", help="What it may do.")] = Role.VIEWER,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is good for.")] = 365,
    scope: Annotated[
        list[Permission] | None,
        typer.Option("--scope", help="Of what the role may, only this; may be given more than once."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    revoke: Annotated[bool, typer.Option("--revoke", help="End the token of this name instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Issue an API token (shown once), or end one."""
    from fleet_server.kit.times import utc_now

    with _accounts(data, tenant) as accounts:
        if revoke:
            ended = accounts.revoke_token(name)
            issued = None
        else:
            issued = accounts.issue_token(name, role, utc_now() + timedelta(days=days), scope or None)
            ended = False
    if as_json:
        typer.echo(json.dumps({"name": name, "token": issued, "revoked": ended}, ensure_ascii=False))
    elif issued is not None:
        typer.echo(f"Token {name} (shown once): {issued}")
    else:
        typer.echo(f"Token {name} is ended." if ended else f"There is no token named {name}.")


@contextmanager
def _accounts(data: Path, tenant: str | None) -> "Iterator[Accounts]":
    from fleet_server.auth.accounts import Accounts
    from fleet_server.db import reachable_database, transaction
    from fleet_server.kit.times import utc_now
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        with transaction(engine) as session:
            yield Accounts(session, as_system(session, settings, tenant), utc_now())
