"""``fleet-server sites``: shops with whom to call there, from the machine itself.

As with people: whoever may read the state folder is the operator, and the audit says ``system``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption, TenantOption, as_system

if TYPE_CHECKING:
    from fleet_server.sites.service import SiteService
    from fleet_server.sites.shown import SiteShown

SiteArgument = Annotated[str, typer.Argument(help="Id of the site.")]
_PAGE = 200


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Sites: merchants, whom to call there, and where it is.", no_args_is_help=True)
    group.command("list")(list_sites)
    group.command("show")(show)
    group.command("set")(change)
    group.command("move")(move)
    group.command("import")(take_in)
    group.command("export")(export)
    app.add_typer(group, name="sites")


def list_sites(
    q: Annotated[str, typer.Option("--q", help="A merchant id, or words of names.")] = "",
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """All sites, or those that a merchant id or words of names find."""
    with _sites(data, tenant) as sites:
        cursor: str | None = None
        while True:
            page = sites.page(q, cursor, _PAGE)
            for one in page.items:
                typer.echo(_as_json(one) if as_json else f"{one.id}  {one.merchant_id:<16} {_named(one)}")
            cursor = page.next
            if cursor is None:
                return


def show(
    site: SiteArgument, data: DataOption = DEFAULT_DATA, tenant: TenantOption = None, *, as_json: JsonOption = False
) -> None:
    """One site with whom to call there; the audit says that it was opened."""
    with _sites(data, tenant) as sites:
        found = sites.open(site)
    _tell(found, as_json=as_json)


def change(
    site: SiteArgument,
    contact_name: Annotated[str | None, typer.Option(help="Whom to call; empty: nobody.")] = None,
    phone: Annotated[str | None, typer.Option(help="The number.")] = None,
    address: Annotated[str | None, typer.Option(help="Where it is.")] = None,
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say whom to call and where a site is; what is left out stays. More fields: by a file, with 'import'."""
    given = {"contact_name": contact_name, "phone": phone, "address": address}
    with _sites(data, tenant) as sites:
        found = sites.change(site, {name: value for name, value in given.items() if value is not None})
    _tell(found, as_json=as_json)


def move(
    device: Annotated[str, typer.Argument(help="Id of the device.")],
    site: SiteArgument,
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
) -> None:
    """Say that a device stands at another site from now on."""
    with _sites(data, tenant) as sites:
        found = sites.move(device, site)
    typer.echo(f"{device} stands at {_named(found)} ({found.id}) from now on.")


def take_in(
    file: Annotated[Path, typer.Argument(help="CSV as 'export' writes it. A line without an id is a new site.")],
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
) -> None:
    """Read sites from a CSV file: all of it or nothing."""
    from fleet_server.sites.errors import SiteInvalid
    from fleet_server.sites.files import read_sites

    try:
        lines = read_sites(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SiteInvalid(f"{file} cannot be read: {error}") from error
    with _sites(data, tenant) as sites:
        added, changed = sites.take_in(lines)
    typer.echo(f"{added} sites are new, {changed} were changed.")


def export(
    out: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
) -> None:
    """Write all sites as CSV, with whom to call there. Keep the file as you keep the database."""
    from fleet_server.sites.files import written

    if out.exists():
        raise typer.BadParameter(f"{out} exists", param_hint="OUT")
    lines = 0
    with _sites(data, tenant) as sites, out.open("x", encoding="utf-8", newline="") as file:
        for line in written(sites.all()):
            file.write(line)
            lines += 1
    typer.echo(f"{lines - 1:,} sites in {out}")


def _named(site: "SiteShown") -> str:
    return f"{site.merchant_name_zh} / {site.merchant_name_en} · {site.name_zh} / {site.name_en}"


def _as_json(site: "SiteShown") -> str:
    from fleet_server.devices.schemas import site_read

    return json.dumps(site_read(site).model_dump(mode="json"), ensure_ascii=False)


def _tell(site: "SiteShown", *, as_json: bool) -> None:
    if as_json:
        typer.echo(_as_json(site))
        return
    typer.echo(f"{site.id}  merchant {site.merchant_id}\n{_named(site)}")
    for name in ("contact_name", "phone", "address", "timezone"):
        typer.echo(f"{name:<14} {getattr(site, name)}")


@contextmanager
def _sites(data: Path, tenant: str | None) -> "Iterator[SiteService]":
    from fleet_server.db import reachable_database, transaction
    from fleet_server.kit.times import utc_now
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings
    from fleet_server.sites.service import SiteService

    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        with transaction(engine) as session:
            yield SiteService(session, as_system(session, settings, tenant), utc_now())
