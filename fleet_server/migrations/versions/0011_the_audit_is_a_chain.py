"""the audit is a chain

An entry names the hash of the one before it and its own, so that none can be changed, taken away, put in or moved
without a trace; the database takes only one that goes on from its tenant's head. People are named by references, and
what else is about them, such as addresses, lies beside the chain where it can be erased. Entries that are there already
are made into chains, in the order in which they were written.

Revision 0011, after 0010.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_GENESIS = "0" * 64
_BATCH = 1000
_ABOUT_PEOPLE = {
    *("sign_in", "sign_out", "sign_in_refused", "step_up", "step_up_refused"),
    *("person_added", "password_set", "role_set"),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The functions run as their owner: a role that may only insert can neither move a head nor remove an entry by itself.
_POSTGRES = (
    """
    CREATE FUNCTION audit_append() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    BEGIN
      UPDATE public.audit_head SET seq = NEW.seq, row_hash = NEW.row_hash
        WHERE tenant_id = NEW.tenant_id AND seq = NEW.seq - 1 AND row_hash = NEW.prev_hash;
      IF NOT FOUND THEN RAISE EXCEPTION 'an entry of the audit goes on from the head of its chain'; END IF;
      RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER audit_entry_append BEFORE INSERT ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_append()",
    """
    CREATE FUNCTION audit_keep() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
    BEGIN
      IF OLD.at > now() - interval '365 days' OR NOT EXISTS (
        SELECT FROM public.audit_anchor WHERE tenant_id = OLD.tenant_id AND kind = 'stub' AND seq >= OLD.seq
      ) THEN RAISE EXCEPTION 'the audit only grows: it is kept for a year, and then up to a signed stub'; END IF;
      RETURN OLD;
    END $$
    """,
    "CREATE TRIGGER audit_entry_stays BEFORE DELETE ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_keep()",
    """
    CREATE TRIGGER audit_anchor_stays BEFORE DELETE ON audit_anchor
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
    """,
    """
    CREATE FUNCTION audit_forget(of_tenant varchar, upto bigint, at_most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DECLARE last bigint; removed bigint;
    BEGIN
      SELECT max(seq) INTO last FROM (SELECT seq FROM public.audit_entry
        WHERE tenant_id = of_tenant AND seq <= upto ORDER BY seq LIMIT at_most) AS oldest;
      DELETE FROM public.audit_aside WHERE tenant_id = of_tenant AND seq <= last;
      DELETE FROM public.audit_entry WHERE tenant_id = of_tenant AND seq <= last;
      GET DIAGNOSTICS removed = ROW_COUNT;
      RETURN removed;
    END $$
    """,
    # For services of the installation only: a caller's role removes nothing.
    "REVOKE EXECUTE ON FUNCTION audit_forget(varchar, bigint, integer) FROM PUBLIC",
)
_SQLITE = (
    """
    CREATE TRIGGER audit_entry_append BEFORE INSERT ON audit_entry BEGIN
      SELECT RAISE(ABORT, 'an entry of the audit goes on from the head of its chain') WHERE NOT EXISTS (
        SELECT 1 FROM audit_head WHERE tenant_id = NEW.tenant_id AND seq = NEW.seq - 1 AND row_hash = NEW.prev_hash);
      UPDATE audit_head SET seq = NEW.seq, row_hash = NEW.row_hash WHERE tenant_id = NEW.tenant_id;
    END
    """,
    """
    CREATE TRIGGER audit_entry_no_delete BEFORE DELETE ON audit_entry
    WHEN OLD.at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-365 days') OR NOT EXISTS (
      SELECT 1 FROM audit_anchor WHERE tenant_id = OLD.tenant_id AND kind = 'stub' AND seq >= OLD.seq)
    BEGIN SELECT RAISE(ABORT, 'the audit only grows: it is kept for a year, and then up to a signed stub'); END
    """,
    """
    CREATE TRIGGER audit_anchor_no_delete BEFORE DELETE ON audit_anchor
    BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END
    """,
)

_PLACE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BEFORE = sa.table(
    "audit_entry",
    sa.column("id", sa.BigInteger),
    sa.column("tenant_id", sa.String),
    sa.column("at", sa.DateTime(timezone=True)),
    sa.column("actor", sa.String),
    sa.column("action", sa.String),
    sa.column("target", sa.String),
    sa.column("address", sa.String),
    sa.column("data", sa.JSON),
)
_encode = msgspec.json.Encoder(order="deterministic").encode


def upgrade() -> None:
    is_postgres = op.get_bind().dialect.name == "postgresql"
    _drop_triggers(is_postgres=is_postgres)
    _make_tables()
    with op.batch_alter_table("audit_entry") as batch:
        batch.add_column(sa.Column("seq", _PLACE, nullable=True))
        batch.add_column(sa.Column("aside", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("prev_hash", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("row_hash", sa.String(length=64), nullable=True))
    _chain_what_is_there()
    with op.batch_alter_table("audit_entry") as batch:
        batch.alter_column("seq", existing_type=sa.BigInteger(), nullable=False)
        for name in ("aside", "prev_hash", "row_hash"):
            batch.alter_column(name, existing_type=sa.String(64), nullable=False)
        batch.drop_column("address")
        batch.create_unique_constraint("uq_audit_place", ["tenant_id", "seq"])
    if is_postgres:
        _guard_postgres()
    else:
        _guard_sqlite()


def _drop_triggers(*, is_postgres: bool) -> None:
    if is_postgres:
        op.execute("DROP TRIGGER audit_entry_only_grows ON audit_entry")
        return
    for deed in ("update", "delete"):
        op.execute(f"DROP TRIGGER audit_entry_no_{deed}")


def _make_tables() -> None:
    op.create_table(
        "audit_aside",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("seq", _PLACE, autoincrement=False, nullable=False),
        sa.Column("salt", sa.String(length=32), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "seq"),
    )
    op.create_table(
        "audit_head",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("seq", _PLACE, nullable=False),
        sa.Column("row_hash", sa.String(length=64), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "audit_anchor",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("seq", _PLACE, autoincrement=False, nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("envelope", sa.String(length=4000), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "seq"),
    )


def _chain_what_is_there() -> None:
    bind = op.get_bind()
    people = {
        (tenant, name): f"person:{id_}"
        for id_, tenant, name in bind.execute(sa.text("SELECT id, tenant_id, name FROM person"))
    }
    heads: dict[str, tuple[int, str]] = {}
    for rows in _pieces(bind):
        changed, asides = [], []
        for row in rows:
            seq, before = heads.get(row.tenant_id, (0, _GENESIS))
            salt, document = secrets.token_hex(16), {"address": row.address} if row.address else {}
            aside = hashlib.sha256(salt.encode() + _encode(document)).hexdigest() if document else ""
            actor = people.get((row.tenant_id, row.actor), row.actor)
            target = people.get((row.tenant_id, row.target), row.target) if row.action in _ABOUT_PEOPLE else row.target
            at = row.at if row.at.tzinfo else row.at.replace(tzinfo=UTC)
            at_us = (at - _EPOCH) // timedelta(microseconds=1)
            fields = (row.tenant_id, seq + 1, at_us, actor, row.action, target, row.data, aside)
            own = hashlib.sha256(before.encode() + _encode(fields)).hexdigest()
            heads[row.tenant_id] = (seq + 1, own)
            changed.append(
                {
                    "of": row.id,
                    "seq": seq + 1,
                    "actor": actor,
                    "target": target,
                    "aside": aside,
                    "before": before,
                    "own": own,
                }
            )
            if document:
                asides.append({"tenant": row.tenant_id, "seq": seq + 1, "salt": salt, "document": json.dumps(document)})
        bind.execute(
            sa.text(
                "UPDATE audit_entry SET seq = :seq, actor = :actor, target = :target, aside = :aside, "
                "prev_hash = :before, row_hash = :own WHERE id = :of"
            ),
            changed,
        )
        if asides:
            bind.execute(
                sa.text(
                    "INSERT INTO audit_aside (tenant_id, seq, salt, document) VALUES (:tenant, :seq, :salt, :document)"
                ),
                asides,
            )
    for tenant, (seq, own) in heads.items():
        bind.execute(
            sa.text("INSERT INTO audit_head (tenant_id, seq, row_hash, held) VALUES (:tenant, :seq, :own, 0)"),
            {"tenant": tenant, "seq": seq, "own": own},
        )


def _pieces(bind: sa.Connection) -> Iterator[list[sa.Row[Any]]]:
    after = 0
    while True:
        rows = list(
            islice(
                bind.execute(sa.select(_BEFORE).where(_BEFORE.c.id > after).order_by(_BEFORE.c.id).limit(_BATCH)),
                _BATCH,
            )
        )
        if not rows:
            return
        after = rows[-1].id
        yield rows


def _guard_postgres() -> None:
    for statement in _POSTGRES:
        op.execute(statement)
    for table in ("audit_entry", "audit_anchor", "audit_aside"):
        op.execute(
            f"CREATE TRIGGER {table}_only_grows BEFORE UPDATE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()"
        )


def _guard_sqlite() -> None:
    for statement in _SQLITE:
        op.execute(statement)
    for table in ("audit_entry", "audit_anchor", "audit_aside"):
        op.execute(
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END"
        )
