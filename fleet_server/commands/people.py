"""``fleet-server people``: who may sign in, from the machine itself.

Whoever may read the state folder is the operator: these commands ask for no other proof, and the audit says ``system``.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.auth.errors import OidcNotOffered
from fleet_server.auth.roles import Role
from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption, TenantOption, as_system
from protocol.shown_text import one_line

if TYPE_CHECKING:
    from fleet_server.auth.people import Known, People
    from fleet_server.settings import ServerSettings

NameArgument = Annotated[str, typer.Argument(help="Name that the person signs in with.")]
people_app = typer.Typer(help="People of the console.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(people_app, name="people")


@people_app.command("list")
def list_people(data: DataOption = DEFAULT_DATA, tenant: TenantOption = None, *, as_json: JsonOption = False) -> None:
    """Who there is, and in what state."""
    with _people(data, tenant) as (people, _settings):
        known = people.list()
    if as_json:
        typer.echo(json.dumps([_as_json(one) for one in known], ensure_ascii=False))
    for one in () if as_json else known:
        typer.echo(one_line(f"{one.name:<24} {one.role.value:<14} {', '.join(_states(one))}"))


@people_app.command("add")
def add(
    name: NameArgument,
    role: Annotated[Role, typer.Option("--role", help="What the person may do.")],
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a person, and a code (shown once, good once, 72 hours) by which that person chooses a password."""
    with _people(data, tenant) as (people, settings):
        code = people.add(name, role)[1]
    _tell_code(name, code, settings, as_json=as_json)


@people_app.command("set-up")
def set_up(
    name: NameArgument, data: DataOption = DEFAULT_DATA, tenant: TenantOption = None, *, as_json: JsonOption = False
) -> None:
    """A new code for whoever forgot the password or let the code lapse."""
    with _people(data, tenant) as (people, settings):
        code = people.new_set_up_code(people.id_of(name))
    _tell_code(name, code, settings, as_json=as_json)


@people_app.command("disable")
def disable(name: NameArgument, data: DataOption = DEFAULT_DATA, tenant: TenantOption = None) -> None:
    """Let a person in no more, and end all sessions; 'enable' takes it back."""
    _do(
        data,
        tenant,
        name,
        lambda people, person_id: people.disable(person_id),
        "cannot sign in any more; all sessions ended",
    )


@people_app.command("enable")
def enable(name: NameArgument, data: DataOption = DEFAULT_DATA, tenant: TenantOption = None) -> None:
    """Let a disabled person in again."""
    _do(data, tenant, name, lambda people, person_id: people.enable(person_id), "can sign in again")


@people_app.command("unlock")
def unlock(name: NameArgument, data: DataOption = DEFAULT_DATA, tenant: TenantOption = None) -> None:
    """Forget wrong tries before the 30 minutes are over."""
    _do(data, tenant, name, lambda people, person_id: people.unlock(person_id), "is not locked any more")


@people_app.command("reset-second-factor")
def reset_second_factor(name: NameArgument, data: DataOption = DEFAULT_DATA, tenant: TenantOption = None) -> None:
    """For a lost telephone without recovery codes: the person sets up another one. All sessions end."""
    said = "has no second factor any more and sets one up with the next sign-in"
    _do(data, tenant, name, lambda people, person_id: people.reset_second_factor(person_id), said)


@people_app.command("role")
def set_role(
    name: NameArgument,
    role: Annotated[Role, typer.Argument(help="The new one.")],
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
) -> None:
    """Change what a person may do. All sessions end."""
    said = f"has the role {role.value}; all sessions ended"
    _do(data, tenant, name, lambda people, person_id: people.set_role(person_id, role), said)


@people_app.command("link")
def link(
    name: NameArgument,
    subject: Annotated[str, typer.Argument(help="What the OpenID provider calls the person (sub); see the audit.")],
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
) -> None:
    """Let a person sign in by the OpenID provider that fleet.toml names."""
    with _people(data, tenant) as (people, settings):
        if not settings.oidc_issuer:
            raise OidcNotOffered("fleet.toml names no OpenID provider: expected oidc_issuer and oidc_client_id")
        people.link(people.id_of(name), settings.oidc_issuer, subject)
    typer.echo(f"{name} is {subject} of {settings.oidc_issuer}.")


@people_app.command("unlink")
def unlink(name: NameArgument, data: DataOption = DEFAULT_DATA, tenant: TenantOption = None) -> None:
    """End a person's links to OpenID providers, and all sessions."""
    _do(
        data,
        tenant,
        name,
        lambda people, person_id: people.unlink(person_id),
        "signs in by no OpenID provider any more",
    )


@people_app.command("change-key")
def change_key(data: DataOption = DEFAULT_DATA) -> None:
    """Seal all second factors with a new key, and forget the old one. Nothing need be restarted."""
    from fleet_server.auth.second_factor import SecondFactors
    from fleet_server.auth.secret_box import new_key_line
    from fleet_server.enrollment.private_files import write_private

    with _people(data) as (people, settings):
        path, fresh = settings.people_key, new_key_line()
        # Both, until every row is committed under the new one: an interrupted change loses nothing.
        write_private(path, fresh + path.read_text("ascii"))
        count = people.reseal(SecondFactors(path))
    write_private(path, fresh)
    typer.echo(f"Sealed the second factors of {count} people with a new key in {path}.")


def _do(data: Path, tenant: str | None, name: str, deed: "Callable[[People, str], object]", said: str) -> None:
    with _people(data, tenant) as (people, _settings):
        deed(people, people.id_of(name))
    typer.echo(f"{name} {said}.")


def _tell_code(name: str, code: str, settings: "ServerSettings", *, as_json: bool) -> None:
    if as_json:
        address = f"{settings.url}/set-up"
        typer.echo(json.dumps({"name": name, "set_up_code": code, "url": address}, ensure_ascii=False))
    else:
        typer.echo(f"{name} chooses a password at {settings.url}/set-up with this code (shown once): {code}")


def _states(one: "Known") -> list[str]:
    states = ["disabled"] if one.is_disabled else []
    states += ["locked"] if one.is_locked else []
    states += ["waits to be set up"] if one.awaits_set_up else []
    states += [] if one.has_password or one.awaits_set_up else ["no password"]
    states += ["second factor" if one.has_second_factor else "no second factor"]
    return [*states, f"{len(one.sessions)} sessions"]


def _as_json(one: "Known") -> dict[str, object]:
    return {
        "name": one.name,
        "role": one.role.value,
        "disabled": one.is_disabled,
        "locked": one.is_locked,
        "awaits_set_up": one.awaits_set_up,
        "second_factor": one.has_second_factor,
        "sessions": len(one.sessions),
    }


@contextmanager
def _people(data: Path, tenant: str | None = None) -> "Iterator[tuple[People, ServerSettings]]":
    from fleet_server.auth.people import People
    from fleet_server.db import reachable_database, transaction
    from fleet_server.kit.times import utc_now
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        with transaction(engine) as session:
            yield People(session, as_system(session, settings, tenant), utc_now()), settings
