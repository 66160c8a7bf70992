"""``fleet-server backup`` and ``fleet-server restore``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DATABASE_URL, DEFAULT_DATA, DataOption, JsonOption

if TYPE_CHECKING:
    from fleet_server.restore import Restored


def register(app: typer.Typer) -> None:
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    target: Annotated[Path, typer.Argument(help="Folder to make; it will hold the keys, so guard it like them.")],
    data: DataOption = DEFAULT_DATA,
    *,
    as_json: JsonOption = False,
) -> None:
    """Copy database, keys, certificates and settings into one folder. The server may run meanwhile."""
    from fleet_server.backup import make_backup
    from fleet_server.kit.times import text, utc_now

    made = make_backup(data, target, utc_now(), _say(as_json=as_json))
    manifest = made.manifest
    if as_json:
        document = {
            "backup": str(made.folder),
            "made_at": text(manifest.made_at),
            "database": manifest.database.value,
            "revision": manifest.revision,
            "devices": manifest.devices,
            "files": len(made.files),
            "size_bytes": made.size_bytes,
        }
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    size_mb = made.size_bytes / 1e6
    typer.echo(f"Backup of {manifest.devices} devices in {made.folder}: {len(made.files)} files, {size_mb:.1f} MB.")
    typer.echo("It holds the keys of this installation: keep it where only operators can read it.")


def restore(
    source: Annotated[Path, typer.Argument(help="Folder that 'fleet-server backup' made, or a tar archive of it.")],
    data: DataOption = DEFAULT_DATA,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            envvar=DATABASE_URL,
            help="PostgreSQL database to replace, if not this folder's own.",
        ),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Replace database, keys, certificates and settings by those of a backup. A server that runs shows pages only."""
    from fleet_server.ingest.installation import COUNTER_STEP
    from fleet_server.kit.times import text, utc_now
    from fleet_server.restore import restore as bring_back

    done = bring_back(data, source, database_url, utc_now(), _say(as_json=as_json))
    if not as_json:
        typer.echo(_in_words(done, COUNTER_STEP))
        return
    document = {
        "restored": str(done.backup.folder),
        "made_at": text(done.backup.manifest.made_at),
        "database": done.backup.manifest.database.value,
        "revision_from": done.backup.manifest.revision,
        "revision_to": done.revision,
        "devices": done.backup.manifest.devices,
        "db_epoch": done.db_epoch,
        "counters_moved_by": COUNTER_STEP,
        "kept": str(done.kept) if done.kept else None,
    }
    typer.echo(json.dumps(document, ensure_ascii=False))


def _in_words(done: "Restored", counter_step: int) -> str:
    manifest = done.backup.manifest
    upgraded = "" if manifest.revision == done.revision else f", upgraded from {manifest.revision}"
    data = done.settings.data
    lines = [
        f"Restored the backup of {manifest.made_at:%Y-%m-%d %H:%M} UTC into {data}.",
        f"It has {manifest.devices} devices, its database is at revision {done.revision}{upgraded}.",
        f"New epoch {done.db_epoch}: agents send again what they still have.",
        f"Command counters of all devices moved forward by {counter_step}: no command number repeats.",
        "Everybody is signed out. Passwords changed and tokens revoked since then: change and revoke them again.",
    ]
    if done.kept:
        lines.append(f"What was there before is in {done.kept}: remove it when all is well, it holds keys.")
    lines.append(f"Now: fleet-server init --data {data}, start the broker anew, then fleet-server run --data {data}")
    return "\n".join(lines)


def _say(*, as_json: bool) -> Callable[[str], None]:
    """Programs want the one object only."""
    return (lambda _line: None) if as_json else typer.echo
