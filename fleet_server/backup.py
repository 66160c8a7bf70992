"""A backup: one folder with the database as of one moment and everything else that a server needs to be made again.

    manifest.json   what it is, of which revision, made when
    fleet.db        the database, when it is SQLite: a whole file, no log beside it
    fleet.dump      the database, when it is PostgreSQL: pg_dump's custom format
    server/         keys, certificates, policy, fleet.toml
    SHA256SUMS      of all of these, as ``sha256sum --check`` reads it

Invariants: the folder appears under its name only when it is whole and on disk; it is its owner's alone, for it holds
the keys. The server may run meanwhile. Bringing it back is left to `fleet_server.restore`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import ClassVar

import msgspec
from sqlalchemy import Engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from fleet_server import postgres_programs
from fleet_server.db import reachable_database, reading
from fleet_server.devices.models import Device
from fleet_server.enrollment.private_files import make_private_dir
from fleet_server.errors import DatabaseUnreachable, FleetError
from fleet_server.kit.foreign_files import DifferentNames, ForeignFileRefused, open_below, safe_name
from fleet_server.schema import current_revision, refuse_unknown
from fleet_server.settings import ServerSettings, load_settings
from protocol.codec import UNREADABLE

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SERVER = "server"
FORMAT = 1
_BUSY_S = 15.0
# Instructions of SQLite's machine between two looks at how far the copy is: a few milliseconds.
_LOOK_EVERY = 100_000
_SAY_EVERY_PCT = 10

Say = Callable[[str], None]


class BackupRefused(FleetError):
    code: ClassVar[str] = "backup_refused"


class BackupUnusable(FleetError):
    """Says which file is missing, changed or not understood."""

    code: ClassVar[str] = "backup_unusable"


class DatabaseKind(Enum):
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"

    @classmethod
    def of(cls, url: str) -> DatabaseKind:
        try:
            return cls(make_url(url).get_backend_name())
        except (ArgumentError, ValueError) as error:
            raise DatabaseUnreachable("database_url: expected sqlite:///PATH or postgresql+psycopg://...") from error

    @property
    def file(self) -> str:
        return "fleet.db" if self is DatabaseKind.SQLITE else "fleet.dump"


class Manifest(msgspec.Struct, frozen=True):
    format: int
    made_at: datetime
    version: str  # of the program that made it
    database: DatabaseKind
    revision: str
    devices: int


@dataclass(frozen=True, slots=True)
class Backup:
    """``files``: by their names in the folder."""

    folder: Path
    manifest: Manifest
    files: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        return sum((self.folder / name).stat().st_size for name in self.files)


def make_backup(data: Path, target: Path, now: datetime, say: Say) -> Backup:
    """Raises ``BackupRefused`` when ``target`` is taken or cannot be written."""
    settings = load_settings(data)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupRefused(f"{target} is there already: name a folder that is new or empty")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        make_private_dir(partial)
        with reachable_database(settings.database_url) as engine:
            manifest = _describe(engine, now)
        say(f"Copying the database ({manifest.database.value}, {manifest.devices} devices) ...")
        _copy_database(settings.database_url, partial / manifest.database.file, say)
        say("Copying keys, certificates and settings ...")
        _copy_server_folder(settings.server_dir, partial / SERVER)
        _copy_command_key(settings, partial / SERVER / "keys", say)
        (partial / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        files = _seal(partial)
        partial.replace(target)
        sync(target.parent)
    except OSError as error:
        raise BackupRefused(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Backup(target, manifest, files)


def read_backup(source: Path, say: Say) -> Backup:
    """Raises ``BackupUnusable`` unless every file is there and is what it was."""
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
        lines = (source / SUMS).read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise BackupUnusable(f"{source} is no backup: {Path(error.filename).name} is missing") from error
    except (OSError, *UNREADABLE) as error:
        raise BackupUnusable(f"{source} cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise BackupUnusable(f"{source} is of format {manifest.format}, this version reads {FORMAT}")
    say("Checking that every file is what it was ...")
    seen = DifferentNames()
    for name, expected in map(_parse_sum, lines):
        _check_file(source, name, expected, seen)
    names = tuple(name.as_posix() for name in seen.all())
    wanted = {MANIFEST, manifest.database.file, f"{SERVER}/fleet.toml"}
    if missing := wanted - set(names):
        raise BackupUnusable(f"{source} is not whole: {SUMS} does not name {min(missing)}")
    return Backup(source, manifest, names)


def sync(path: Path) -> None:
    """A file's content, or the names in a folder, are on disk from here on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _describe(engine: Engine, now: datetime) -> Manifest:
    with engine.connect() as connection:
        found = current_revision(connection)
    refuse_unknown(found)
    if found is None:
        raise BackupRefused("the database is empty: there is nothing to back up")
    with reading(engine) as session:
        devices = session.execute(select(func.count()).select_from(Device)).scalar_one()
    return Manifest(FORMAT, now, version("tillmedic"), DatabaseKind(engine.dialect.name), found, devices)


def _copy_database(url: str, target: Path, say: Say) -> None:
    # Private from its first byte, whatever the umask.
    target.touch(0o600)
    if DatabaseKind.of(url) is DatabaseKind.POSTGRESQL:
        postgres_programs.dump(url, target, say)
        return
    source = Path(make_url(url).database or "")
    total = max(1, sum(path.stat().st_size for path in (source, Path(f"{source}-wal")) if path.exists()))
    told_pct = 0

    def look() -> int:
        nonlocal told_pct
        done_pct = min(99, target.stat().st_size * 100 // total)
        if done_pct >= told_pct + _SAY_EVERY_PCT:
            told_pct = done_pct
            say(f"Database: {done_pct} %")
        return 0

    _vacuum_into(source, target, look)


def _vacuum_into(source: Path, target: Path, look: Callable[[], int] = lambda: 0) -> None:
    try:
        # One transaction that only reads: unlike the backup API it never starts over because somebody writes.
        with closing(sqlite3.connect(source, timeout=_BUSY_S, isolation_level=None)) as connection:
            connection.set_progress_handler(look, _LOOK_EVERY)
            connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise BackupRefused(f"{source} cannot be copied: {error}") from error


def _copy_server_folder(source: Path, target: Path) -> None:
    """All but the database, its locks, and files that somebody is just writing."""
    for path in _files_below(source):
        relative = path.relative_to(source)
        if path.name.startswith((".", "fleet.db")):
            continue
        make_private_dir((target / relative).parent)
        if path.suffix == ".db":
            # The issuer's ledger, which may be written meanwhile.
            _vacuum_into(path, target / relative)
            continue
        shutil.copyfile(path, target / relative)


def _copy_command_key(settings: ServerSettings, target: Path, say: Say) -> None:
    """Where earlier versions had it; a restore moves it to the signer's folder."""
    if settings.signer_elsewhere:
        say("The command key is with the signer, in a folder of its own: back that up as its user.")
        return
    if (settings.signer_dir / "command.seed").exists():
        shutil.copyfile(settings.signer_dir / "command.seed", target / "command.seed")


def _files_below(folder: Path) -> Iterator[Path]:
    """Those of another place that a link leads to count as well: they are what the server reads."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files_below(path)
        elif path.is_file():
            yield path


def _seal(folder: Path) -> tuple[str, ...]:
    names = tuple(path.relative_to(folder).as_posix() for path in _files_below(folder))
    (folder / SUMS).write_text("".join(f"{_digest(folder / name)}  {name}\n" for name in names), "utf-8")
    for path in _files_below(folder):
        path.chmod(0o600)
        sync(path)
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        sync(path)
    return names


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse_sum(line: str) -> tuple[PurePosixPath, str]:
    digest, _, name = line.partition("  ")
    try:
        place = safe_name(name)
    except ForeignFileRefused as error:
        raise BackupUnusable(f"{SUMS} has a line that was not written by a backup: {error}") from error
    if len(digest) != 64:
        raise BackupUnusable(f"{SUMS} has a line that was not written by a backup: {line[:80]!r}")
    return place, digest


def _check_file(source: Path, name: PurePosixPath, expected: str, seen: DifferentNames) -> None:
    try:
        seen.add(name)
        with open_below(source, name) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BackupUnusable(f"{source / name} cannot be read: {error.strerror}") from error
    except ForeignFileRefused as error:
        raise BackupUnusable(f"{source}: {error}") from error
    if found != expected:
        raise BackupUnusable(f"{source / name} is not what it was when the backup was made")
