"""Brings a backup back: database, keys, certificates and settings. Of a server that runs, nothing writes meanwhile, and
pages are read from the old copy where the database lets them (`fleet_server.restoring`).

A database that went back is older than what agents and terminals were told. Invariants of what comes into being here:
a new epoch, so that agents send again what they still have; counters of commands, and numbers of events, that nobody
has seen yet; nobody is signed in; who was erased since is erased once more (`fleet_server.personal.replaying`).
None of it exists before all of it does: SQLite is made ready aside, PostgreSQL in one transaction, and the folder of
the server is replaced in one step. What the folder held before is kept beside it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import ClassVar

from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from fleet_server import migrate, postgres_programs
from fleet_server.audit.service import SYSTEM, record
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.backup import SERVER, Backup, BackupUnusable, DatabaseKind, Say, read_backup, sync
from fleet_server.db import READER_NAME, reachable_database, transaction
from fleet_server.enrollment.private_files import make_private_dir
from fleet_server.enrollment.settings_file import Wishes, ensure_settings
from fleet_server.enrollment.signer_folder import adopt_command_key
from fleet_server.errors import DatabaseUnreachable, FleetError, SettingsInvalid
from fleet_server.ingest.installation import COUNTER_STEP, EVENT_STEP, db_epoch
from fleet_server.kit.foreign_files import ForeignFileRefused, Limits, copy_below, safe_name, unpack
from fleet_server.personal.ledger import FILE, Ledger
from fleet_server.personal.replaying import replay
from fleet_server.restoring import declared, has_writers, without_writers
from fleet_server.schema import head_revision, refuse_unknown
from fleet_server.settings import ServerSettings, load_settings

# Longer than a flush, a request or a step of the scheduler takes to end.
WRITERS_LET_GO_S = 20.0
# In a backup: keys, certificates, policies, bundles of devices.
MAX_FILES = 500_000
# In both databases' SQL. The newest event takes a number that no event stream has seen: the next ones go on from it.
_RENEWAL = (
    "DELETE FROM server_state WHERE name = 'db_epoch'",
    f"UPDATE device SET command_counter = command_counter + {COUNTER_STEP}",  # noqa: S608 - a constant of ours
    f"UPDATE event SET id = id + {EVENT_STEP} WHERE id = (SELECT max(id) FROM event)",  # noqa: S608 - as above
    "DELETE FROM login_session",
)
_POSTGRES_NUMBERS = "SELECT setval(pg_get_serial_sequence('event', 'id'), (SELECT max(id) FROM event))"
_IN_USE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# Readers of the old copy come and go, and wait for nothing.
_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity "  # noqa: S608 - a constant of ours
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' "
    f"AND application_name <> '{READER_NAME}'"
)
_HUNG_UP_S = 2.0
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD
EraseAgain = Callable[[Engine], object]


class RestoreRefused(FleetError):
    """Nothing was changed."""

    code: ClassVar[str] = "restore_refused"


@dataclass(frozen=True, slots=True)
class Restored:
    """``kept``: what the server's folder held before, if there was one. ``revision``: after any upgrade."""

    backup: Backup
    settings: ServerSettings
    revision: str
    db_epoch: str
    kept: Path | None


def restore(data: Path, source: Path, database_url: str | None, now: datetime, say: Say) -> Restored:
    """``database_url``: a PostgreSQL database to replace, when it is not the one of this state folder."""
    # A server that runs lets go when it is asked to, and is asked when the backup is known to be whole; whoever else
    # uses the database is refused before anything that takes long.
    if not has_writers(data):
        _refuse_while_used(_present_url(data), say, must_answer=False)
    with _as_folder(data, source, say) as folder:
        return _restore(data, read_backup(folder, say), database_url, now, say)


def _restore(data: Path, backup: Backup, database_url: str | None, now: datetime, say: Say) -> Restored:
    refuse_unknown(backup.manifest.revision)
    make_private_dir(data)
    with (
        _alone(data),
        declared(data, now),
        without_writers(data, WRITERS_LET_GO_S) as is_alone,
        _staging(data) as stage,
    ):
        if not is_alone:
            raise RestoreRefused("the server is running, and a process of it does not stop writing: stop it first")
        # And for a file once more when its place is to be taken.
        present = _present_url(data)
        _refuse_while_used(present, say, must_answer=False)
        url = _target(data, backup, database_url)
        if DatabaseKind.of(url) is DatabaseKind.POSTGRESQL:
            _refuse_while_used(url, say, must_answer=True)
        say("Copying keys, certificates and settings ...")
        _copy_server_folder(backup, stage / SERVER)
        ensure_settings(stage, Wishes(database_url=_named(url)))
        say("Bringing the database back ...")
        erase_again = partial(replay, ledger=Ledger(data / FILE), now=now, say=say)
        if DatabaseKind.of(url) is DatabaseKind.SQLITE:
            epoch = _prepare_sqlite(backup, stage, now, erase_again)
            _refuse_while_used(present, lambda _line: None, must_answer=False)
        else:
            postgres_programs.restore(url, backup.folder / "fleet.dump", (*_RENEWAL, _POSTGRES_NUMBERS))
            with reachable_database(url) as engine:
                epoch = _finish(engine, backup, load_settings(stage).tenant, now, erase_again)
        kept = _swap(stage / SERVER, data, now)
        # Terminals know this key; before anybody else starts on the folder, it is the signer's alone.
        adopt_command_key(load_settings(data))
    return Restored(backup, load_settings(data), head_revision(), epoch, kept)


@contextmanager
def _as_folder(data: Path, source: Path, say: Say) -> Iterator[Path]:
    """A backup that was packed by tar, to be carried, is unpacked beside where it is to go."""
    if not source.is_file():
        yield source
        return
    beside = next(place for place in (data, *data.absolute().parents) if place.is_dir())
    # What comes out of it is copied once more.
    limits = Limits(MAX_FILES, shutil.disk_usage(beside).free // 2)
    say("Unpacking ...")
    with _private(beside, ".unpacking") as folder:
        try:
            names = unpack(source, folder, limits)
        except ForeignFileRefused as error:
            raise BackupUnusable(f"{source}: {error}") from error
        except OSError as error:
            raise RestoreRefused(f"{source} cannot be unpacked in {beside}: {error.strerror or error}") from error
        # Packed with the folder's own name, or from within it.
        tops = {name.parts[0] for name in names}
        yield folder / tops.pop() if len(tops) == 1 else folder


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """The lock of ``fleet-server init``."""
    place = data / ".init.lock"
    place.touch(0o600)
    with place.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RestoreRefused(f"'fleet-server init' or another restore is at work in {data}") from error
        yield


@contextmanager
def _staging(data: Path) -> Iterator[Path]:
    """On the same disk, so that what is ready takes its place by a change of names."""
    with _private(data, ".restoring") as stage:
        yield stage


@contextmanager
def _private(place: Path, name: str) -> Iterator[Path]:
    made = make_private_dir(place / f"{name}.{secrets.token_hex(4)}")
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _present_url(data: Path) -> str:
    """Of the database that this state folder uses now; empty when that cannot be told."""
    try:
        return load_settings(data).database_url
    except SettingsInvalid:
        here = data.resolve() / SERVER / "fleet.db"
        return f"sqlite:///{here}" if here.exists() else ""


def _target(data: Path, backup: Backup, asked: str | None) -> str:
    """A PostgreSQL database that this folder does not use is replaced only when it is named."""
    kind, present = backup.manifest.database, _present_url(data)
    if asked is not None and (DatabaseKind.of(asked) is not kind or kind is DatabaseKind.SQLITE):
        raise RestoreRefused(
            f"the backup holds a {kind.value} database: --database-url is for one of PostgreSQL, to be replaced by it"
        )
    if kind is DatabaseKind.SQLITE:
        return f"sqlite:///{data.resolve() / SERVER / 'fleet.db'}"
    if asked is not None:
        return asked
    if not present or DatabaseKind.of(present) is not kind:
        raise RestoreRefused(
            f"{data} uses no PostgreSQL database yet: give --database-url postgresql+psycopg://... to say which one "
            "is to be replaced"
        )
    return present


def _named(url: str) -> str:
    """A file lies by the settings that name it, here and where both will be."""
    return "sqlite:///fleet.db" if DatabaseKind.of(url) is DatabaseKind.SQLITE else url


def _refuse_while_used(url: str, say: Say, *, must_answer: bool) -> None:
    """``must_answer``: whether a PostgreSQL database that cannot be reached is an obstacle; nobody else reaches it."""
    if not url:
        return
    if DatabaseKind.of(url) is DatabaseKind.SQLITE:
        _refuse_open_file(Path(make_url(url).database or ""), say)
        return
    try:
        with reachable_database(url) as engine:
            others = _others(engine)
    except DatabaseUnreachable:
        if must_answer:
            raise
        return
    if others:
        raise RestoreRefused(f"the server is running: the database has {others} other connections, stop them first")


def _others(engine: Engine) -> int:
    """Connections but for our own; whoever has just hung up is listed for another moment."""
    give_up_s = time.monotonic() + _HUNG_UP_S
    while True:
        with engine.connect() as connection:
            others: int = connection.execute(text(_OTHERS)).scalar_one()
        if others == 0 or time.monotonic() > give_up_s:
            return others
        time.sleep(0.1)


def _refuse_open_file(path: Path, say: Say) -> None:
    if not path.exists():
        return
    refusal = f"the server is running: {path} is in use, stop it first"
    if _is_locked(Path(f"{path}.scheduler.lock")):
        raise RestoreRefused(refusal)
    give_up_s = time.monotonic() + _HUNG_UP_S
    while True:
        try:
            with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
                # Whoever has the file open, even idle, holds a lock that this one does not go with.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) not in _IN_USE:
                say(f"The present database cannot be read ({error}); it is put aside as it is.")
                return
            if time.monotonic() > give_up_s:
                raise RestoreRefused(refusal) from error
            # A reader of the old copy has it open for the time of one page.
            time.sleep(0.05)
        else:
            return


def _is_locked(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _copy_server_folder(backup: Backup, target: Path) -> None:
    make_private_dir(target)
    for name in backup.files:
        if name.startswith(f"{SERVER}/"):
            _copy_private(backup, name, target / name.removeprefix(f"{SERVER}/"))


def _copy_private(backup: Backup, name: str, target: Path) -> None:
    try:
        make_private_dir(target.parent)
        copy_below(backup.folder, safe_name(name), target)
    except OSError as error:
        raise RestoreRefused(f"{name} cannot be copied to {target.parent}: {error.strerror}") from error


def _prepare_sqlite(backup: Backup, stage: Path, now: datetime, erase_again: EraseAgain) -> str:
    target = stage / SERVER / "fleet.db"
    _copy_private(backup, "fleet.db", target)
    with reachable_database(f"sqlite:///{target}") as engine:
        migrate.upgrade(engine)
        with transaction(engine) as session:
            for statement in _RENEWAL:
                session.execute(text(statement))
        epoch = _finish(engine, backup, load_settings(stage).tenant, now, erase_again)
    # Closing it has folded its log into it.
    sync(target)
    return epoch


def _finish(engine: Engine, backup: Backup, tenant: str, now: datetime, erase_again: EraseAgain) -> str:
    """The new epoch, of a database without who was erased since. Nobody uses it yet; were this cut short, ingest would
    make an epoch at its start.
    """
    migrate.upgrade(engine)
    erase_again(engine)
    system = Actor("", SYSTEM, Role.OPERATOR, tenant, ActorKind.PERSON)
    with transaction(engine) as session:
        epoch = db_epoch(session)
        made_at = backup.manifest.made_at.isoformat(timespec="seconds")
        record(session, system, "restored", data={"made_at": made_at, "db_epoch": epoch}, now=now)
    return epoch


def _swap(fresh: Path, data: Path, now: datetime) -> Path | None:
    place = data / SERVER
    for folder in (fresh, *(path for path in fresh.rglob("*") if path.is_dir())):
        sync(folder)
    if not place.exists():
        fresh.rename(place)
        sync(data)
        return None
    kept = data / f"{SERVER}.before-{now:%Y%m%dT%H%M%SZ}"
    if kept.exists():
        kept = kept.with_name(f"{kept.name}-{secrets.token_hex(2)}")
    if _exchange(fresh, place):
        fresh.rename(kept)
    else:
        # A file system without it: for a moment there is no folder, and what was there is beside it.
        place.rename(kept)
        fresh.rename(place)
    sync(data)
    return kept


def _exchange(one: Path, other: Path) -> bool:
    """Both names change places in one step; false where kernel, C library or file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)
