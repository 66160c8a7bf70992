"""A backup is whole and its owner's alone; a restore replaces everything at once, renews what must never repeat, and
refuses in one sentence without having changed anything.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from fleet_server.audit.models import AuditEntry
from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.passwords import Passwords
from fleet_server.backup import Backup, BackupRefused, BackupUnusable, make_backup
from fleet_server.db import open_engine, reading, transaction
from fleet_server.devices.models import Device
from fleet_server.enrollment.installation import install
from fleet_server.enrollment.settings_file import Wishes
from fleet_server.errors import DatabaseUnreachable, SchemaUnknown
from fleet_server.ingest.installation import COUNTER_STEP, EVENT_STEP, db_epoch
from fleet_server.kit.leadership import Leadership
from fleet_server.postgres_programs import PostgresProgramFailed
from fleet_server.restore import Restored, RestoreRefused, restore
from fleet_server.restoring import WritersPlace
from fleet_server.settings import load_settings
from fleet_server.timeline.models import Event
from fleet_server.timeline.writer import NewEvent, append_events
from tests.fleet_server.enrollment.fleets import small_fleet
from tests.support.engines import postgres_url
from tests.support.postgres import PostgresServer

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SENT = 7


@dataclass
class Place:
    """A state folder; ``url``: the PostgreSQL database that it is to use, if any."""

    data: Path
    url: str | None = None
    said: list[str] = field(default_factory=list)

    def restore(self, backup: Path) -> Restored:
        return restore(self.data, backup, self.url, LATER, self.said.append)

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        engine = open_engine(load_settings(self.data).database_url)
        try:
            yield engine
        finally:
            engine.dispose()


@dataclass(frozen=True, slots=True)
class Original:
    """An installation where commands were sent, somebody is signed in and something happened; and its backup."""

    place: Place
    epoch: str
    backup: Backup


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    folder = tmp_path_factory.mktemp("original")
    (folder / "fleet.json").write_text(json.dumps(small_fleet()), "utf-8")
    with ExitStack() as stack:
        url = None
        if request.param == "postgresql":
            url = stack.enter_context(postgres_url(request.getfixturevalue("postgres_server"), "template1"))
        place = Place(folder / "data")
        install(place.data, Wishes(database_url=url), folder / "fleet.json", NOW, Passwords.cheap())
        with place.engine() as engine:
            epoch = live_a_little(engine)
            # Others go on using it.
            with engine.connect():
                backup = make_backup(place.data, folder / "backup", NOW, place.said.append)
        yield Original(place, epoch, backup)


def live_a_little(engine: Engine) -> str:
    with transaction(engine) as session:
        epoch = db_epoch(session)
        session.execute(text("UPDATE device SET command_counter = :sent"), {"sent": SENT})
        user = session.exec(select(User.id)).first() or ""
        session.add(signed_in(user))
        device = session.exec(select(Device.id)).first() or ""
        append_events(session, "default", [NewEvent(device, "note", NOW, {"text": "before"})], NOW)
    return epoch


def signed_in(user: str) -> LoginSession:
    return LoginSession(
        id_sha256="0" * 64,
        tenant_id="default",
        user_id=user,
        csrf="c",
        created_at=NOW,
        last_used_at=NOW,
        expires_at=LATER,
    )


@pytest.fixture
def fresh(request: pytest.FixtureRequest, original: Original, tmp_path: Path) -> Iterator[Place]:
    """Where nothing is yet."""
    if original.backup.manifest.database.value == "sqlite":
        yield Place(tmp_path / "data")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        with postgres_url(server, "template1") as url:
            yield Place(tmp_path / "data", url)


@pytest.fixture
def copied(original: Original, tmp_path: Path) -> Path:
    """A copy of the backup that may be spoilt."""
    return Path(shutil.copytree(original.backup.folder, tmp_path / "copied"))


def counters(engine: Engine) -> set[int]:
    with reading(engine) as session:
        return set(session.exec(select(Device.command_counter)).all())


def test_a_backup_holds_all_that_is_needed_for_its_owner_alone(original: Original) -> None:
    backup = original.backup
    names = {path.relative_to(backup.folder).as_posix() for path in backup.folder.rglob("*") if path.is_file()}
    kept = {
        f"server/{path.relative_to(original.place.data / 'server').as_posix()}"
        for path in (original.place.data / "server").rglob("*")
        if path.is_file() and not path.name.startswith("fleet.db")
    }
    kept.add("server/keys/command.seed")
    assert names == {"manifest.json", "SHA256SUMS", backup.manifest.database.file} | kept
    assert {
        "server/keys/ca-root.key",
        "server/issuer/ledger.db",
        "server/keys/command.seed",
        "server/fleet.toml",
        "server/policy.json",
    } <= kept
    assert [path for path in [backup.folder, *backup.folder.rglob("*")] if path.stat().st_mode & 0o077] == []
    for line in (backup.folder / "SHA256SUMS").read_text("utf-8").splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((backup.folder / name).read_bytes()).hexdigest() == digest
    assert backup.manifest.devices == 3
    assert any("Copying the database" in line for line in original.place.said)


def test_a_restore_on_a_new_machine_brings_everything_back_and_repeats_no_number(
    original: Original, fresh: Place
) -> None:
    restored = fresh.restore(original.backup.folder)
    assert restored.kept is None
    here, there = fresh.data / "server", original.place.data / "server"
    for name in ("keys/ca-root.key", "issuer/issuing.key", "keys/server.seed", "tls/broker.crt", "policy.json"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert load_settings(fresh.data).ingest_group == load_settings(original.place.data).ingest_group
    with fresh.engine() as engine:
        assert counters(engine) == {SENT + COUNTER_STEP}
        with transaction(engine) as session:
            assert db_epoch(session) == restored.db_epoch != original.epoch
            assert session.exec(select(LoginSession)).all() == []
            (event,) = session.exec(select(Event)).all()
            (entry,) = session.exec(select(AuditEntry).where(AuditEntry.action == "restored")).all()
            (next_id,) = append_events(session, "default", [NewEvent(event.device_id, "note", NOW, {})], NOW)
        assert (event.id, next_id) == (1 + EVENT_STEP, 2 + EVENT_STEP)
        assert entry.data["db_epoch"] == restored.db_epoch
    assert [path for path in fresh.data.rglob("*") if path.stat().st_mode & 0o077] == []
    assert [path.name for path in fresh.data.iterdir() if path.name.startswith(".restoring")] == []


def test_what_was_there_is_replaced_and_kept_beside_it(original: Original, fresh: Place) -> None:
    fresh.restore(original.backup.folder)
    (fresh.data / "server" / "keys" / "ca-root.key").write_text("of another time")
    with fresh.engine() as engine, transaction(engine) as session:
        session.execute(text("CREATE TABLE of_a_later_version (id integer)"))
        session.execute(text("DELETE FROM event"))
    restored = fresh.restore(original.backup.folder)
    assert restored.kept is not None
    assert (restored.kept / "keys" / "ca-root.key").read_text() == "of another time"
    assert (fresh.data / "server" / "keys" / "ca-root.key").read_text() != "of another time"
    with fresh.engine() as engine, reading(engine) as session:
        assert len(session.exec(select(Event)).all()) == 1
        with pytest.raises(DBAPIError, match="of_a_later_version"):
            session.execute(text("SELECT * FROM of_a_later_version"))


def test_nothing_is_replaced_under_a_running_server(original: Original, fresh: Place) -> None:
    fresh.restore(original.backup.folder)
    with fresh.engine() as engine:
        # Idle in its pool, as those of a server are most of the time.
        engine.connect().close()
        with pytest.raises(RestoreRefused, match="the server is running"):
            fresh.restore(original.backup.folder)
        assert counters(engine) == {SENT + COUNTER_STEP}
    fresh.restore(original.backup.folder)


def test_a_writer_that_does_not_let_go_is_not_restored_under(
    original: Original, fresh: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.restore(original.backup.folder)
    monkeypatch.setattr("fleet_server.restore.WRITERS_LET_GO_S", 0.2)
    place = WritersPlace(fresh.data)
    assert place.take()
    with pytest.raises(RestoreRefused, match="does not stop writing"):
        fresh.restore(original.backup.folder)
    place.leave()
    fresh.restore(original.backup.folder)


def test_a_file_that_is_not_what_it_was_is_named_and_nothing_is_changed(fresh: Place, copied: Path) -> None:
    (copied / "server" / "keys" / "root.seed").write_text("0" * 64)
    with pytest.raises(BackupUnusable, match=r"root\.seed is not what it was"):
        fresh.restore(copied)
    (copied / "server" / "keys" / "root.seed").unlink()
    with pytest.raises(BackupUnusable, match=r"root\.seed cannot be read"):
        fresh.restore(copied)
    assert not fresh.data.exists()


def test_a_sum_that_leads_out_of_the_folder_is_refused(fresh: Place, copied: Path) -> None:
    with (copied / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  server/../../outside\n")
    with pytest.raises(BackupUnusable, match="not written by a backup"):
        fresh.restore(copied)


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_backup_that_was_packed_to_be_carried_is_brought_back(
    fresh: Place, copied: Path, tmp_path: Path, *, has_folder: bool
) -> None:
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as archive:
        archive.add(copied, arcname=copied.name if has_folder else ".")
    fresh.restore(tmp_path / "packed.tar.gz")
    with fresh.engine() as engine:
        assert counters(engine) == {SENT + COUNTER_STEP}
    assert not [path for path in (*tmp_path.iterdir(), *fresh.data.iterdir()) if "unpacking" in path.name]


def test_an_archive_that_reaches_out_of_its_folder_changes_nothing(fresh: Place, copied: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "packed.tar", "w") as archive:
        archive.add(copied, arcname="b")
        archive.addfile(tarfile.TarInfo("../planted"))
    with pytest.raises(BackupUnusable, match="below the folder"):
        fresh.restore(tmp_path / "packed.tar")
    assert not fresh.data.exists()
    assert not list(tmp_path.rglob("planted"))
    assert not [path for path in tmp_path.rglob("*") if "unpacking" in path.name]


def test_a_link_or_a_second_name_in_a_backup_is_refused(fresh: Place, copied: Path, tmp_path: Path) -> None:
    toml = copied / "server" / "fleet.toml"
    (tmp_path / "elsewhere.toml").write_bytes(toml.read_bytes())
    toml.unlink()
    toml.symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(BackupUnusable, match=r"fleet\.toml cannot be read"):
        fresh.restore(copied)
    toml.unlink()
    toml.write_bytes((tmp_path / "elsewhere.toml").read_bytes())
    with (copied / "SHA256SUMS").open("a") as sums:
        sums.write(f"{hashlib.sha256(toml.read_bytes()).hexdigest()}  server/FLEET.toml\n")
    with pytest.raises(BackupUnusable, match="same name"):
        fresh.restore(copied)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"revision": "9999"}, SchemaUnknown, "revision 9999, which this version does not know"),
        ({"format": 2}, BackupUnusable, "is of format 2, this version reads 1"),
    ],
)
def test_a_backup_of_a_later_version_is_refused(
    fresh: Place, copied: Path, change: dict[str, object], error: type[Exception], sentence: str
) -> None:
    manifest = copied / "manifest.json"
    before = hashlib.sha256(manifest.read_bytes()).hexdigest()
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), **change}))
    sums = copied / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(manifest.read_bytes()).hexdigest()))
    with pytest.raises(error, match=sentence):
        fresh.restore(copied)
    assert not fresh.data.exists()


def test_a_folder_that_is_taken_or_no_backup_is_refused(original: Original, fresh: Place, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "something").touch()
    with pytest.raises(BackupRefused, match="is there already"):
        make_backup(original.place.data, taken, NOW, fresh.said.append)
    with pytest.raises(BackupUnusable, match=r"is no backup: manifest.json is missing"):
        fresh.restore(taken)
    assert {path.name for path in tmp_path.iterdir()} == {"taken"}


@pytest.mark.parametrize("original", ["sqlite"], indirect=True)
def test_a_broken_database_is_put_aside(original: Original, fresh: Place) -> None:
    fresh.restore(original.backup.folder)
    (fresh.data / "server" / "fleet.db").write_bytes(b"not a database" * 1000)
    restored = fresh.restore(original.backup.folder)
    assert restored.kept is not None
    assert any("cannot be read" in line for line in fresh.said)
    with fresh.engine() as engine:
        assert counters(engine) == {SENT + COUNTER_STEP}


@pytest.mark.parametrize("original", ["sqlite"], indirect=True)
def test_a_scheduler_at_work_counts_as_a_running_server(original: Original, fresh: Place) -> None:
    fresh.restore(original.backup.folder)
    with fresh.engine() as engine:
        leader = Leadership(engine, "scheduler", 1)
        assert leader.holds()
        with pytest.raises(RestoreRefused, match="the server is running"):
            fresh.restore(original.backup.folder)
        leader.give_up()


@pytest.mark.parametrize("original", ["sqlite"], indirect=True)
def test_an_address_of_postgresql_does_not_go_with_a_file(original: Original, fresh: Place) -> None:
    fresh.url = "postgresql+psycopg://u:secret@127.0.0.1:1/x"
    with pytest.raises(RestoreRefused, match="the backup holds a sqlite database") as refused:
        fresh.restore(original.backup.folder)
    assert "secret" not in str(refused.value)
    fresh.url = "nonsense"
    with pytest.raises(DatabaseUnreachable, match="expected sqlite"):
        fresh.restore(original.backup.folder)


@pytest.mark.postgres
@pytest.mark.parametrize("original", ["postgresql"], indirect=True)
def test_a_postgresql_database_is_replaced_only_when_it_is_named(original: Original, tmp_path: Path) -> None:
    with pytest.raises(RestoreRefused, match="give --database-url"):
        Place(tmp_path / "data").restore(original.backup.folder)


@pytest.mark.postgres
@pytest.mark.parametrize("original", ["postgresql"], indirect=True)
def test_a_database_machine_that_is_gone_can_be_replaced_by_another(original: Original, fresh: Place) -> None:
    fresh.restore(original.backup.folder)
    settings = fresh.data / "server" / "fleet.toml"
    settings.write_text(settings.read_text().replace(str(fresh.url), "postgresql+psycopg://u@127.0.0.1:1/gone"))
    there = Place(fresh.data, fresh.url)
    fresh.url = None
    with pytest.raises(DatabaseUnreachable, match=r"127\.0\.0\.1:1/gone cannot be opened"):
        fresh.restore(original.backup.folder)
    there.restore(original.backup.folder)
    assert load_settings(fresh.data).database_url == there.url


@pytest.mark.postgres
@pytest.mark.parametrize("original", ["postgresql"], indirect=True)
def test_a_dump_that_breaks_off_leaves_the_database_as_it_was(original: Original, fresh: Place, copied: Path) -> None:
    fresh.restore(original.backup.folder)
    dump = copied / "fleet.dump"
    before = hashlib.sha256(dump.read_bytes()).hexdigest()
    dump.write_bytes(dump.read_bytes()[:-3000])
    sums = copied / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(dump.read_bytes()).hexdigest()))
    with pytest.raises(PostgresProgramFailed, match=r"pg_restore|psql"):
        fresh.restore(copied)
    with fresh.engine() as engine:
        assert counters(engine) == {SENT + COUNTER_STEP}


@pytest.mark.parametrize("original", ["sqlite"], indirect=True)
def test_the_copied_file_needs_no_log_beside_it(original: Original) -> None:
    with closing(sqlite3.connect(original.backup.folder / "fleet.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM event").fetchone() == (1,)
