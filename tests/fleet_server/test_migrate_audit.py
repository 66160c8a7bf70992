"""Entries of before the chain: all of them are in it afterwards, in their order, and name nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.command import upgrade as alembic_upgrade
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from fleet_server import migrate
from fleet_server.audit.service import AuditFilter, AuditService
from fleet_server.db import open_engine, reading, transaction
from tests.support.audit_rig import verified, write_entries
from tests.support.engines import postgres_url

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MANY = 2300  # more than two pieces


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def before(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database without the chain, with entries of two tenants, by people, programs and strangers."""
    if request.param == "sqlite":
        yield from _filled(f"sqlite:///{tmp_path}/old.db")
    else:
        with postgres_url(request.getfixturevalue("postgres_server"), "template1") as url:
            yield from _filled(url)


def _filled(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    with engine.begin() as connection:
        config = migrate.alembic_config()
        config.attributes["connection"] = connection
        alembic_upgrade(config, "0010")
        connection.execute(
            text(
                "INSERT INTO person (id, tenant_id, name, display_name, password_hash, role, language, theme, "
                "failed_count, created_at) VALUES ('u-li', 'default', 'li.wei', '', '', 'support', '', '', 0, :at)"
            ),
            {"at": NOON},
        )
        rows = [_entry(number) for number in range(MANY)]
        rows.append(_entry(MANY) | {"action": "sign_in", "target": "li.wei", "address": "10.0.0.9"})
        names = "tenant_id, at, actor, action, target, address, data"
        values = ", ".join(f":{name}" for name in names.split(", "))
        connection.execute(text(f"INSERT INTO audit_entry ({names}) VALUES ({values})"), rows)  # noqa: S608 - our own
    try:
        yield engine
    finally:
        engine.dispose()


def _entry(number: int) -> dict[str, object]:
    return {
        "tenant_id": "other" if number % 10 == 3 else "default",
        "at": (NOON + timedelta(seconds=number)).replace(tzinfo=None).isoformat(" ", "microseconds"),
        "actor": ("li.wei", "system", "demo")[number % 3],
        "action": "execution_requested",
        "target": f"d-{number}",
        "address": "",
        "data": json.dumps({"number": number, "ratio": 0.1}),
    }


def test_entries_of_before_are_chained_and_go_on(before: Engine) -> None:
    migrate.upgrade(before)
    for tenant, count in (("default", MANY - 229), ("other", 230)):
        outcome = verified(before, tenant)
        assert outcome.finding is None, outcome.finding
        assert outcome.check.seq == count
    write_entries(before, 3)
    assert verified(before).check.seq == MANY - 226
    with reading(before) as session:
        found = AuditService(session, "default").page(AuditFilter(action="sign_in"), None, 10).items
        raw = session.execute(text("SELECT actor, target FROM audit_entry WHERE action = 'sign_in'")).one()
        count = session.execute(text("SELECT count(*) FROM audit_entry WHERE actor = 'li.wei'")).scalar_one()
    assert [(one.target, one.personal) for one in found] == [("li.wei", {"address": "10.0.0.9"})]
    assert raw.target == "person:u-li"
    # Of another tenant that name is nobody's.
    assert count == len([n for n in range(MANY) if n % 3 == 0 and n % 10 == 3])


@pytest.mark.parametrize("deed", ["UPDATE audit_entry SET actor = 'nobody'", "DELETE FROM audit_entry"])
def test_they_cannot_be_changed_afterwards(before: Engine, deed: str) -> None:
    migrate.upgrade(before)
    with pytest.raises(DBAPIError, match="the audit only grows"), transaction(before) as session:
        session.execute(text(deed))
