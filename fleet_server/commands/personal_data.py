"""``fleet-server personal-data``: give somebody what is stored about him, or erase it, from the machine itself.

As with people: whoever may read the state folder is the operator, and the audit says ``system``.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption, TenantOption, as_system

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from fleet_server.auth.roles import Actor
    from fleet_server.personal.subjects import Subject
    from fleet_server.settings import ServerSettings

_TOLD_EVERY_S = 2.0
Person = Annotated[str, typer.Option("--person", help="Somebody who signs in, by the name for it.")]
Phone = Annotated[str, typer.Option("--phone", help="A telephone number, in any way of writing.")]
Name = Annotated[str, typer.Option("--name", help="A name, exactly as it was written down.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="People's data: give it out, or erase it.", no_args_is_help=True)
    group.command("fields")(fields)
    group.command("export")(export)
    group.command("erase")(erase)
    app.add_typer(group, name="personal-data")


def fields(data: DataOption = DEFAULT_DATA, *, as_json: JsonOption = False) -> None:
    """Every field that holds something about people: what, why, how long, who sees it."""
    from fleet_server.personal.exporting import described
    from fleet_server.settings import load_settings

    known = described(load_settings(data))
    if as_json:
        typer.echo(json.dumps(known, ensure_ascii=False, indent=1))
        return
    for name, one in known.items():
        typer.echo(f"{name}\n  {one['what_zh']} / {one['what_en']}\n  {one['why_zh']} / {one['why_en']}")
        typer.echo(f"  kept: {one['kept']}\n  seen by: {one['seen_by']}")


def export(
    out: Annotated[Path, typer.Option(help="The file to write; it must not exist.")],
    person: Person = "",
    phone: Phone = "",
    name: Name = "",
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
) -> None:
    """Write everything that is stored about somebody as JSON, with what each field is. The server may run meanwhile."""
    from fleet_server.kit.times import utc_now
    from fleet_server.personal.exporting import export as pieces_of

    with _found(data, tenant, {"person": person, "phone": phone, "name": name}) as (engine, actor, subjects, settings):
        for number, subject in enumerate(subjects):
            place = out if number == 0 else out.with_name(f"{out.stem}-{number + 1}{out.suffix}")
            rows = _write(place, pieces_of(engine, actor, subject, settings, utc_now()))
            typer.echo(f"{subject.title or subject.reference}: {rows:,} rows in {place}")


def erase(
    person: Person = "",
    phone: Phone = "",
    name: Name = "",
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
) -> None:
    """Erase somebody: history stays, the person is gone from it. Says first what it finds. Cannot be taken back."""
    with _found(data, tenant, {"person": person, "phone": phone, "name": name}) as (engine, actor, subjects, settings):
        for subject in subjects:
            _tell_found(engine, subject)
            if not dry_run and (yes or typer.confirm("Erase this? It cannot be taken back", default=False)):
                _erase(engine, actor, subject, settings)


def _erase(engine: "Engine", actor: "Actor", subject: "Subject", settings: "ServerSettings") -> None:
    from fleet_server.db import transaction
    from fleet_server.kit.times import utc_now
    from fleet_server.personal.erasing import Eraser, ask
    from fleet_server.personal.ledger import Ledger

    with transaction(engine) as session:
        erasure = ask(session, actor, subject, utc_now())
    ledger = Ledger(settings.erasures_file)
    counts = Eraser(engine, ledger, utc_now).finish(erasure.id, _every(lambda one: f"at {one.table or 'the end'} ..."))
    typer.echo(f"Erased as {subject.label}: {sum(counts.values()):,} rows. The ledger is {settings.erasures_file}.")


def _tell_found(engine: "Engine", subject: "Subject") -> None:
    from fleet_server.personal.exporting import survey

    counts = survey(engine, subject, _every(lambda rows: f"{rows:,} rows so far ..."))
    typer.echo(f"{subject.title or subject.reference} ({subject.reference}):")
    for column, count in counts.items():
        typer.echo(f"  {column:<34} {count:>8,}")
    if not counts:
        typer.echo("  nothing is stored about them")


def _every(words: "Callable[..., str]") -> "Callable[..., None]":
    """Tells on standard error, not more often than somebody reads."""
    told_s = [time.monotonic()]

    def tell(*about: object) -> None:
        if time.monotonic() - told_s[0] >= _TOLD_EVERY_S:
            told_s[0] = time.monotonic()
            typer.echo(words(*about), file=sys.stderr)

    return tell


def _write(out: Path, chunks: "Iterator[bytes]") -> int:
    """Under its name only when it is whole; how many rows."""
    tell, rows = _every(lambda rows: f"{rows:,} rows so far ..."), -3
    partial = out.with_name(f"{out.name}.part")
    if out.exists():
        raise typer.BadParameter(f"{out} exists", param_hint="--out")
    try:
        with partial.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
                rows += 1
                tell(max(rows, 0))
        partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)
    return rows


@contextmanager
def _found(
    data: Path, tenant: str | None, asked: "dict[str, str]"
) -> "Iterator[tuple[Engine, Actor, list[Subject], ServerSettings]]":
    from fleet_server.db import reachable_database, reading
    from fleet_server.kit.times import utc_now
    from fleet_server.personal.errors import SubjectNotFound
    from fleet_server.personal.subjects import find_subjects
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        with reading(engine) as session:
            actor = as_system(session, settings, tenant)
            subjects = list(find_subjects(session, actor.tenant_id, utc_now(), **asked))
        if not subjects:
            raise SubjectNotFound(f"nobody signs in as {asked['person']}")
        yield engine, actor, subjects, settings
