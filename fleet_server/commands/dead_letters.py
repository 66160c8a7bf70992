"""``fleet-server dead-letters list | show | replay``: what devices sent and this server did not understand."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption, TenantOption, as_system
from protocol.shown_text import one_line

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from fleet_server.auth.roles import Actor
    from fleet_server.ingest.dead_letters import Unread

# Why a letter stays, where it is not the reason that decoding gives.
_WHY = {
    "not_a_record": "whole messages, which are out of date or sent again anyway",
    "stranger": "of links that are not enrolled any more",
    "not_passed_over": "which their sender still has to send",
    "foreign_device": "for devices of other links",
}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="What devices sent and this server could not understand.", no_args_is_help=True)
    group.command("list")(list_letters)
    group.command("show")(show)
    group.command("replay")(replay)
    app.add_typer(group, name="dead-letters")


def list_letters(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List them, newest first."""
    from fleet_server.db import reading
    from fleet_server.ingest.dead_letters import DeadLetterService

    with _database(data, tenant) as (engine, actor), reading(engine) as session:
        found = DeadLetterService(session, actor.tenant_id).page(None, limit).items
    if as_json:
        typer.echo(json.dumps({"items": [_as_json(one) for one in found]}, ensure_ascii=False))
        return
    for one in found:
        said = f"{one.id:>8}  {one.received_at:%Y-%m-%d %H:%M:%S}  {one.link_id}  {one.reason}  {one.size_bytes} B"
        typer.echo(one_line(said))
    if not found:
        typer.echo("Everything that came was understood.")


def show(
    letter: Annotated[int, typer.Argument(help="Its number in the list.")],
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one, with the part of its payload that was kept (at most 256 KiB, without card data)."""
    from fleet_server.db import reading
    from fleet_server.ingest.dead_letters import DeadLetterService

    with _database(data, tenant) as (engine, actor), reading(engine) as session:
        found, payload = DeadLetterService(session, actor.tenant_id).get(letter)
    document = {**_as_json(found), "payload": _printable(payload)}
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    for name, value in document.items():
        typer.echo(one_line(f"{name:<13} {value}"))


def replay(
    letters: Annotated[list[int] | None, typer.Argument(help="Their numbers; left out: all.")] = None,
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Decode them again with this version, and store what it understands. The server may run meanwhile."""
    from fleet_server.db import transaction
    from fleet_server.ingest.replay import replay as play
    from fleet_server.kit.times import utc_now

    taken, left, after_id = 0, Counter[str](), 0
    with _database(data, tenant) as (engine, actor):
        while True:
            with transaction(engine) as session:
                piece = play(session, actor, utc_now(), after_id=after_id, ids=letters or None)
            taken, left = taken + piece.taken, left + piece.left
            if piece.last_id is None:
                break
            after_id = piece.last_id
    if as_json:
        typer.echo(json.dumps({"taken": taken, "left": dict(left)}, ensure_ascii=False))
        return
    typer.echo(f"Understood and stored: {taken}. Left as they are: {left.total()}.")
    for why, count in left.most_common():
        typer.echo(one_line(f"  {count:>6}  {_WHY.get(why, why)}"))


@contextmanager
def _database(data: Path, tenant: str | None) -> "Iterator[tuple[Engine, Actor]]":
    from fleet_server.db import reachable_database, reading
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        with reading(engine) as session:
            actor = as_system(session, settings, tenant)
        yield engine, actor


def _as_json(letter: "Unread") -> dict[str, Any]:
    from fleet_server.kit.times import text

    return {
        "id": letter.id,
        "link": letter.link_id,
        "kind": letter.topic_kind,
        "stream": letter.stream,
        "seq": letter.seq,
        "reason": letter.reason,
        "detail": letter.detail,
        "content_type": letter.content_type,
        "size_bytes": letter.size_bytes,
        "received_at": text(letter.received_at),
    }


def _printable(payload: bytes) -> str:
    """A device's bytes must not steer the terminal of whoever reads them."""
    text = payload.decode("utf-8", "backslashreplace")
    return one_line(text)
