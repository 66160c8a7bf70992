"""``fleet-server audit list | export | verify | anchor``: who did what, and the proof that nobody changed it since."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption
from protocol.shown_text import one_line

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from fleet_server.audit.keeping import Outcome
    from fleet_server.audit.service import AuditFilter
    from fleet_server.settings import ServerSettings

_DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

Who = Annotated[str | None, typer.Option(help="Of this person or program only.")]
What = Annotated[str | None, typer.Option(help="This deed only, by its stable word such as sign_in.")]
Whereto = Annotated[str | None, typer.Option(help="Done to this device, person or program only.")]
Since = Annotated[datetime | None, typer.Option("--from", formats=_DATES, help="UTC, included.")]
Until = Annotated[datetime | None, typer.Option("--to", formats=_DATES, help="UTC, left out.")]
Tenant = Annotated[str | None, typer.Option(help="Of this tenant; left out: of the installation's own, or of all.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Who did what, and the proof that nobody changed it since.", no_args_is_help=True)
    group.command("list")(list_entries)
    group.command("export")(export)
    group.command("verify")(verify)
    group.command("anchor")(anchor)
    app.add_typer(group, name="audit")


def list_entries(
    actor: Who = None,
    action: What = None,
    target: Whereto = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    tenant: Tenant = None,
    data: DataOption = DEFAULT_DATA,
    *,
    as_json: JsonOption = False,
) -> None:
    """List entries, newest first. Reading is written down too."""
    from fleet_server.audit.service import AuditService
    from fleet_server.db import reading

    where = _where(actor, action, target, since, until)
    with _database(data) as (engine, settings):
        of = tenant or settings.tenant
        _note(engine, of, "audit_read", where.as_data())
        with reading(engine) as session:
            lines = AuditService(session, of).page(where, None, limit).items
    for line in lines:
        beside = {**line.data, **line.personal}
        row = {"seq": line.seq, "at": line.at.isoformat(), "actor": line.actor, "action": line.action}
        row |= {"target": line.target, "data": beside}
        words = f"{line.seq:>8}  {line.at:%Y-%m-%d %H:%M:%S}  {line.actor}  {line.action}  {line.target}"
        typer.echo(json.dumps(row, ensure_ascii=False) if as_json else one_line(words))


def export(
    out: Annotated[Path, typer.Option(help="The file to write; it must not exist.")],
    actor: Who = None,
    action: What = None,
    target: Whereto = None,
    since: Since = None,
    until: Until = None,
    as_: Annotated[str, typer.Option("--format", help="jsonl, which can be verified, or csv.")] = "jsonl",
    tenant: Tenant = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Write entries to a file, oldest first. Only an export of all of them can be verified."""
    from fleet_server.audit.files import AuditFormat, written
    from fleet_server.audit.keeping import named_rows
    from fleet_server.audit.service import AuditService
    from fleet_server.db import reading

    if as_ not in set(AuditFormat):
        raise typer.BadParameter(f"expected jsonl or csv, came {as_!r}", param_hint="--format")
    if out.exists():
        raise typer.BadParameter(f"{out} exists", param_hint="--out")
    where = _where(actor, action, target, since, until)
    with _database(data) as (engine, settings):
        of = tenant or settings.tenant
        _note(engine, of, "audit_exported", {**where.as_data(), "format": as_})
        with reading(engine) as session:
            query = AuditService(session, of).query(where)
        partial = out.with_name(f"{out.name}.part")
        try:
            with partial.open("xb") as file:
                file.writelines(written(named_rows(engine, of, query, with_personal=True), AuditFormat(as_)))
            partial.rename(out)
        finally:
            partial.unlink(missing_ok=True)
    typer.echo(f"The audit of {of} is in {out}.")


def verify(
    export_file: Annotated[
        Path | None, typer.Option("--export", help="A whole export as JSON lines, instead of the database.")
    ] = None,
    anchors: Annotated[
        list[Path] | None, typer.Option(help="A file or folder of anchors that was kept elsewhere; more than once.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Public anchor keys, one a line; left out: those of the state folder.")
    ] = None,
    tenant: Tenant = None,
    data: DataOption = DEFAULT_DATA,
    *,
    as_json: JsonOption = False,
) -> None:
    """Go over whole chains. Exit code 1 when one does not hold, with the first entry that does not fit."""
    from fleet_server.audit import outside
    from fleet_server.audit.anchors import PUBLIC, Keys, anchor_public_keys
    from fleet_server.audit.keeping import read_anchors, tenants, verify_database

    kept = [envelope for path in anchors or () for envelope in read_anchors(path)]
    outcomes: list[Outcome]
    if export_file is not None:
        keys = anchor_public_keys(key) if key is not None else Keys.of()
        outcomes = [outside.verify_file(export_file, keys, kept, _say)]
    else:
        with _database(data) as (engine, settings):
            keys = anchor_public_keys(key or settings.keys_dir / PUBLIC)
            wanted = tenants(engine) if tenant is None else [tenant]
            outcomes = [verify_database(engine, one, keys, outside.about(one, kept, keys), _say) for one in wanted]
    for outcome in outcomes:
        typer.echo(json.dumps(_as_json(outcome), ensure_ascii=False) if as_json else _in_words(outcome))
    if any(one.finding is not None for one in outcomes):
        raise typer.Exit(1)


def anchor(
    url: Annotated[str, typer.Option(envvar="TILLMEDIC_URL", help="Of the server, to sign on another machine.")] = "",
    token: Annotated[str, typer.Option(envvar="TILLMEDIC_TOKEN", help="A token that may export the audit.")] = "",
    ca: Annotated[Path | None, typer.Option(help="The authority of the server's certificate.")] = None,
    key: Annotated[Path | None, typer.Option(help="The anchor key; left out: that of the state folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of anchor files; left out: DATA/audit.")] = None,
    data: DataOption = DEFAULT_DATA,
    *,
    as_json: JsonOption = False,
) -> None:
    """Verify what is new since the last anchor, and sign the head: here, or with --url from another machine."""
    from fleet_server.audit.anchors import SEED
    from fleet_server.kit.times import utc_now

    if url:
        from fleet_server.audit import remote

        if key is None or out is None:
            raise typer.BadParameter("expected --key and --out beside --url")
        signed = remote.anchor(remote.connect(url, token, ca), key, out, utc_now())
        _tell(signed.statement.tenant if signed else "", signed.statement.seq if signed else 0, as_json=as_json)
        return
    from fleet_server.audit.anchors import PUBLIC, anchor_public_keys
    from fleet_server.audit.errors import AuditBroken
    from fleet_server.audit.keeping import anchor as sign
    from fleet_server.audit.keeping import tenants, verify_database
    from fleet_server.signer.keys import load_key

    with _database(data) as (engine, settings):
        keys = anchor_public_keys(settings.keys_dir / PUBLIC)
        signing = load_key(key or settings.keys_dir / SEED)
        for one in tenants(engine):
            outcome = verify_database(engine, one, keys, (), _say)
            if outcome.finding is not None:
                raise AuditBroken(_in_words(outcome))
            done = sign(engine, outcome, signing, out or settings.audit_dir, utc_now())
            _tell(one, done.statement.seq if done else 0, as_json=as_json)


def _tell(tenant: str, seq: int, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"tenant": tenant, "seq": seq or None}))
    elif seq:
        typer.echo(f"{tenant}: signed up to entry {seq}.")
    else:
        typer.echo(f"{tenant}: nothing is new since the last anchor." if tenant else "Nothing is new.")


@contextmanager
def _database(data: Path) -> "Iterator[tuple[Engine, ServerSettings]]":
    from fleet_server.db import reachable_database
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        yield engine, settings


def _note(engine: "Engine", tenant: str, action: str, conditions: dict[str, str | int]) -> None:
    from fleet_server.audit.reading import note_reading
    from fleet_server.audit.service import SYSTEM
    from fleet_server.auth.roles import Actor, ActorKind, Role

    note_reading(engine, Actor("", SYSTEM, Role.OPERATOR, tenant, ActorKind.PERSON), action, conditions)


def _where(
    actor: str | None, action: str | None, target: str | None, since: datetime | None, until: datetime | None
) -> "AuditFilter":
    from fleet_server.audit.service import AuditFilter

    moments = [None if one is None else one.replace(tzinfo=UTC) for one in (since, until)]
    return AuditFilter(actor, action, target, *moments)


def _say(seq: int) -> None:
    typer.echo(f"{seq:,} entries …", file=sys.stderr)


def _as_json(outcome: "Outcome") -> dict[str, object]:
    check, finding = outcome.check, outcome.finding
    damage = None if finding is None else {"kind": finding.damage, "seq": finding.seq, "detail": finding.detail}
    return {
        "tenant": outcome.tenant_id,
        "holds": finding is None,
        "from": check.begun_at + 1,
        "to": check.seq,
        "entries": check.rows,
        "anchored": check.anchored,
        "erased": check.erased,
        "damage": damage,
    }


def _in_words(outcome: "Outcome") -> str:
    check, finding = outcome.check, outcome.finding
    if finding is not None:
        return f"{outcome.tenant_id}: DAMAGED at entry {finding.seq}, {finding.damage}: {finding.detail}."
    anchored = f"anchored up to {check.anchored:,}" if check.anchored else "never anchored"
    return f"{outcome.tenant_id}: entries {check.begun_at + 1:,} to {check.seq:,} hold, {anchored}."
