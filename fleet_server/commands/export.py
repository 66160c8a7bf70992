"""``fleet-server export health``: what was measured in a range, as a file for other programs."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, TenantOption, as_system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleet_server.health.export import HealthExport
    from fleet_server.health.export_files import Format
    from fleet_server.health.rollups import Level

_TOLD_EVERY_S = 2.0
_DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
_LEVELS = {"samples": None, "5min": "FIVE_MINUTES", "hour": "HOUR", "day": "DAY"}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Take what was measured out of the database, as a file.", no_args_is_help=True)
    group.command("health")(export_health)
    # With one command only, a group would be taken for that command.
    group.callback()(_nothing)
    app.add_typer(group, name="export")


def export_health(
    begin: Annotated[datetime, typer.Option("--from", formats=_DATES, help="UTC, included.")],
    end: Annotated[datetime, typer.Option("--to", formats=_DATES, help="UTC, left out.")],
    out: Annotated[Path, typer.Option(help="The file to write; it must not exist.")],
    device: Annotated[str | None, typer.Option(help="Id of one device; left out: all.")] = None,
    site: Annotated[str | None, typer.Option(help="Id of a store: its devices only.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="This metric only; may be given more than once.")] = None,
    level: Annotated[str, typer.Option(help=f"One of {', '.join(_LEVELS)}.")] = "samples",
    as_: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
    data: DataOption = DEFAULT_DATA,
    tenant: TenantOption = None,
) -> None:
    """Write every sample, or every bucket of a rollup, of a range. The server may run meanwhile."""
    from fleet_server.audit.service import record
    from fleet_server.db import reachable_database, reading, transaction
    from fleet_server.health.export import HealthExport, Wanted
    from fleet_server.health.export_files import check_format, written
    from fleet_server.schema import check_revision
    from fleet_server.settings import load_settings

    chosen = _format(as_)
    check_format(chosen)
    moments = begin.replace(tzinfo=UTC), end.replace(tzinfo=UTC)
    wanted = Wanted(*moments, _level(level), device, site, frozenset(metric or ()))
    settings = load_settings(data)
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        with reading(engine) as session:
            actor = as_system(session, settings, tenant)
        export = HealthExport(engine, actor.tenant_id, wanted)
        devices = export.count_devices()
        with transaction(engine) as session:
            record(session, actor, "health_exported", data={**wanted.as_data(), "format": chosen.value})
        _write(out, written(export.pieces(), chosen, is_rollup=wanted.level is not None), export, devices)
    typer.echo(f"{export.rows_done:,} rows of {export.devices_done:,} devices in {out}")


def _nothing() -> None:
    """Take what was measured out of the database, as a file."""


def _level(text: str) -> "Level | None":
    from fleet_server.health.rollups import Level

    if text not in _LEVELS:
        raise typer.BadParameter(f"expected one of {', '.join(_LEVELS)}, came {text!r}", param_hint="--level")
    named = _LEVELS[text]
    return None if named is None else Level[named]


def _format(text: str) -> "Format":
    from fleet_server.health.export_files import Format

    try:
        return Format(text)
    except ValueError as error:
        expected = " or ".join(Format)
        raise typer.BadParameter(f"expected {expected}, came {text!r}", param_hint="--format") from error


def _write(out: Path, chunks: "Iterator[bytes]", export: "HealthExport", devices: int) -> None:
    """Under its name only when it is whole."""
    told_s = time.monotonic()
    partial = out.with_name(f"{out.name}.part")
    try:
        if out.exists():
            raise typer.BadParameter(f"{out} exists", param_hint="--out")
        with partial.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
                if time.monotonic() - told_s >= _TOLD_EVERY_S:
                    told_s = time.monotonic()
                    told = f"{export.devices_done:,} of {devices:,} devices, {export.rows_done:,} rows"
                    typer.echo(told, file=sys.stderr)
        partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)
