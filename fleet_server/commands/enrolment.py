"""``fleet-server enrolment``: codes for devices that enrol themselves, and those that wait for a person.

Whoever may read the state folder is the operator: these commands ask for no other proof, and the audit says ``system``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption, TenantOption, as_system
from protocol.shown_text import one_line

if TYPE_CHECKING:
    from sqlmodel import Session

    from fleet_server.auth.roles import Actor
    from fleet_server.enrollment.codes import Codes, Made
    from fleet_server.enrollment.models import Enrolment
    from fleet_server.settings import ServerSettings

HoursOption = Annotated[int, typer.Option("--hours", min=1, max=90 * 24, help="How long a code may be used.")]
IdArgument = Annotated[str, typer.Argument(help="Id of the enrolment.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Devices that enrol themselves.", no_args_is_help=True)
    for name, command in (("code", code), ("pallet", pallet), ("list", list_), ("approve", approve)):
        group.command(name)(command)
    group.command("refuse")(refuse)
    group.command("retire")(retire)
    group.command("withdraw")(withdraw)
    app.add_typer(group, name="enrolment")


def code(
    serial_number: Annotated[str, typer.Argument(help="Serial number of the device.")],
    model: Annotated[str, typer.Argument(help="Its model, as the device says it.")],
    terminal_class: Annotated[str, typer.Option("--class", help="e_sign, traditional, smart or kiosk.")] = "smart",
    site: Annotated[str, typer.Option(help="Id of the site; left out: a person says it when the device asks.")] = "",
    hours: HoursOption = 72,
    qr: Annotated[Path | None, typer.Option("--qr", help="Also as a QR code, into this file (.svg or .png).")] = None,
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    needs_approval: Annotated[bool, typer.Option("--needs-approval", help="A person has to let it in.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a code for one device; it is shown once, here as a QR code too."""
    from fleet_server.enrollment.pallet import read_line
    from fleet_server.enrollment.qr import for_terminal, write_qr

    wanted = read_line({"serial_number": serial_number, "model": model, "terminal_class": terminal_class, "site": site})
    with _codes(data, tenant) as (codes, url):
        (made,) = codes.make([wanted], timedelta(hours=hours), needs_approval=needs_approval)
    if qr is not None:
        write_qr(qr, made, url)
    if as_json:
        typer.echo(json.dumps(_as_json(made, url), ensure_ascii=False))
        return
    typer.echo(f"Code for {serial_number}, until {made.row.expires_at:%Y-%m-%d %H:%M} UTC (shown once):\n")
    typer.echo(f"  device-agent enroll --server {url} --code {made.code}\n")
    typer.echo(for_terminal(made, url))


def pallet(
    file: Annotated[Path, typer.Argument(help="CSV: serial_number,model,terminal_class[,site,label_zh,label_en].")],
    into: Annotated[Path, typer.Argument(help="New file for the codes, as CSV.")],
    hours: HoursOption = 14 * 24,
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    needs_approval: Annotated[bool, typer.Option("--needs-approval", help="A person has to let each in.")] = False,
) -> None:
    """Make a code for each line of a file: all or none."""
    import csv

    from fleet_server.enrollment.errors import PalletInvalid
    from fleet_server.enrollment.pallet import read_pallet

    try:
        text = file.read_text("utf-8")
        # Private from its first byte.
        with into.open("x", encoding="utf-8", newline="") as out, _codes(data, tenant) as (codes, url):
            made = codes.make(read_pallet(text), timedelta(hours=hours), needs_approval=needs_approval)
            writer = csv.writer(out)
            writer.writerow(("serial_number", "model", "code", "server", "until"))
            for one in made:
                until = one.row.expires_at.isoformat()
                writer.writerow((one.row.serial_number, one.row.model, str(one.code), url, until))
    except (OSError, UnicodeDecodeError) as error:
        raise PalletInvalid(f"{file} or {into}: {error}") from error
    except BaseException:
        into.unlink(missing_ok=True)
        raise
    typer.echo(f"{len(made)} codes in {into}: whoever has a code and the device can enrol it.")


def list_(
    state: Annotated[str, typer.Option(help="Only open, pending, approved, done, refused or withdrawn.")] = "",
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """The newest 200."""
    with _codes(data, tenant) as (codes, _):
        rows = codes.page(state or None, None, 200).items
        if as_json:
            typer.echo(json.dumps([_row(row) for row in rows], ensure_ascii=False))
            return
        for row in rows:
            said = f"{row.id}  {row.state:<9} {row.kind:<6} {row.serial_number}  {row.model}  {row.address}"
            typer.echo(one_line(said))


def approve(
    enrolment_id: IdArgument,
    site: Annotated[str, typer.Option(help="Id of the site it stands at.")] = "",
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
) -> None:
    """Let a device in that waits; it gets its certificate when it asks next."""
    with _codes(data, tenant) as (codes, _):
        row = codes.approve(enrolment_id, site or None)
    typer.echo(f"{row.serial_number} may come in as {row.device_id}.")


def refuse(enrolment_id: IdArgument, data: DataOption = DEFAULT_DATA, tenant: TenantOption = None) -> None:
    """Turn a device away that waits."""
    with _codes(data, tenant) as (codes, _):
        row = codes.refuse(enrolment_id)
    typer.echo(f"{row.serial_number} was turned away.")


def withdraw(enrolment_id: IdArgument, data: DataOption = DEFAULT_DATA, tenant: TenantOption = None) -> None:
    """End a code that nobody has used."""
    with _codes(data, tenant) as (codes, _):
        row = codes.withdraw(enrolment_id)
    typer.echo(f"The code for {row.serial_number} is worth nothing any more.")


def retire(
    device: Annotated[str, typer.Argument(help="Id of the device.")],
    reason: Annotated[str, typer.Option(help="stolen, swapped, retired or compromised.")],
    note: Annotated[str, typer.Option(help="For people.")] = "",
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
) -> None:
    """Take a device out of service, for good."""
    from fleet_server.enrollment.retirement import Reason, Retirements
    from fleet_server.kit.times import utc_now

    if reason not in {one.value for one in Reason}:
        raise typer.BadParameter(f"expected one of {', '.join(one.value for one in Reason)}, came {reason!r}")
    with _as_system(data, tenant) as (session, actor, _):
        Retirements(session, actor, utc_now()).retire(device, Reason(reason), note)
    typer.echo(f"{device} is out of service. The scheduler shuts it out of the broker.")


@contextmanager
def _codes(data: Path, tenant: str | None) -> "Iterator[tuple[Codes, str]]":
    from fleet_server.enrollment.codes import Codes
    from fleet_server.kit.times import utc_now

    with _as_system(data, tenant) as (session, actor, settings):
        root = settings.keys_dir / "ca.crt"
        yield Codes(session, actor, root.read_bytes, utc_now()), settings.url


@contextmanager
def _as_system(data: Path, tenant: str | None) -> "Iterator[tuple[Session, Actor, ServerSettings]]":
    from fleet_server.db import reachable_database, transaction
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        with transaction(engine) as session:
            yield session, as_system(session, settings, tenant), settings


def _as_json(made: "Made", url: str) -> dict[str, Any]:
    return {"code": str(made.code), "server": url, **_row(made.row)}


def _row(row: "Enrolment") -> dict[str, Any]:
    names = ("id", "kind", "state", "device_id", "serial_number", "model", "site_id", "address")
    return {name: getattr(row, name) for name in names} | {"expires_at": row.expires_at.isoformat()}
