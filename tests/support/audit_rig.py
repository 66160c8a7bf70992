"""Chains of the audit for tests, and somebody with every right in the database who damages them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlmodel import Session

from fleet_server.audit.anchors import Keys, Signed
from fleet_server.audit.chain import ChainRow
from fleet_server.audit.keeping import Outcome, verify_database
from fleet_server.audit.repository import AuditRepository
from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import transaction
from protocol.signing import SigningKey

KEY = SigningKey.from_seed(b"a" * 32)
KEYS = Keys.of(KEY.public_hex)
BEGAN_AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
_TOGETHER = 500


def person(tenant: str = "default", number: int = 1) -> Actor:
    return Actor(f"u-{number}", f"name-{number}", Role.SUPPORT, tenant, ActorKind.PERSON)


def write_entries(engine: Engine, count: int, tenant: str = "default", began_at: datetime = BEGAN_AT) -> None:
    for first in range(0, count, _TOGETHER):
        with transaction(engine) as session:
            for number in range(first, min(count, first + _TOGETHER)):
                data = {"number": number, "ratio": number / 7, "words": ["重启", "\0 \U0001f9fe"]}
                at = began_at + timedelta(seconds=number)
                record(session, person(tenant, number % 5), "done", f"d-{number}", data, address="10.0.0.1", now=at)


def verified(engine: Engine, tenant: str = "default", anchors: Sequence[Signed] = ()) -> Outcome:
    return verify_database(engine, tenant, KEYS, [one.envelope for one in anchors])


def chain(where: Connection, tenant: str = "default") -> list[ChainRow]:
    """As it is seen from within a transaction."""
    with Session(where) as session:
        return AuditRepository(session, tenant).rows_after(0, 1_000_000)


@contextmanager
def database_administrator(engine: Engine) -> Iterator[Connection]:
    """Whom no trigger and no constraint stops."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(text("ALTER TABLE audit_entry DROP CONSTRAINT uq_audit_place"))
            yield connection
            connection.execute(text("ALTER TABLE audit_entry ADD CONSTRAINT uq_audit_place UNIQUE (tenant_id, seq)"))
            return
        named = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'audit_%'"
        triggers = connection.execute(text(named)).all()
        for name, _ in triggers:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield connection
        for _, sql in triggers:
            connection.exec_driver_sql(sql)


def change(connection: Connection, seq: int, tenant: str = "default", **values: Any) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in values)
    connection.execute(
        text(f"UPDATE audit_entry SET {sets} WHERE seq = :seq_ AND tenant_id = :tenant_"),  # noqa: S608 - names of our own columns
        {**values, "seq_": seq, "tenant_": tenant},
    )


def remove(connection: Connection, first: int, last: int, tenant: str = "default") -> None:
    statement = "DELETE FROM audit_entry WHERE tenant_id = :tenant AND seq BETWEEN :first AND :last"
    connection.execute(text(statement), {"tenant": tenant, "first": first, "last": last})


def set_head(connection: Connection, seq: int, row_hash: str, tenant: str = "default") -> None:
    statement = "UPDATE audit_head SET seq = :seq, row_hash = :hash WHERE tenant_id = :tenant"
    connection.execute(text(statement), {"seq": seq, "hash": row_hash, "tenant": tenant})


def rehash(connection: Connection, rows: Sequence[ChainRow], tenant: str = "default") -> str:
    """Writes hashes anew over ``rows``, which follow each other; the last one's."""
    before = rows[0].prev_hash
    for row in rows:
        own = row.digest(before)
        change(connection, row.seq, tenant, prev_hash=before, row_hash=own)
        before = own
    return before
