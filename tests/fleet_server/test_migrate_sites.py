"""Devices of before are found by what they were, but for the telephone numbers that stood among it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.command import upgrade as alembic_upgrade
from sqlalchemy import Engine, text

from fleet_server import migrate
from fleet_server.db import open_engine
from tests.support.engines import postgres_url

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LEFT = {
    "d-first": "021-5555 0101\nsn1\ndawn",
    "d-mid": "sn2\n+86 21 5555\ndawn\n138",
    "d-last": "sn3\ndawn\n021-5555 0101",
    "d-inside": "sn021-5555 0101x\ndawn",
}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def before(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
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
        alembic_upgrade(config, "0013")
        for name, phone in (("s-a", "021-5555 0101"), ("s-b", "+86 21 5555"), ("s-c", "")):
            connection.execute(
                _SITE,
                {"id": name, "phone": phone},
            )
        for name, found_by in LEFT.items():
            site, sim = ("s-b", "138") if name == "d-mid" else ("s-a", None)
            connection.execute(_DEVICE, {"id": name, "site": site, "sim": sim, "found_by": found_by, "at": NOON})
    try:
        yield engine
    finally:
        engine.dispose()


_SITE = text(
    "INSERT INTO site (id, tenant_id, merchant_id, merchant_name_zh, merchant_name_en, name_zh, name_en, city_zh, "
    "city_en, phone, timezone) VALUES (:id, 'default', 'm', '', '', '', '', '', '', :phone, '')"
)
_DEVICE = text(
    "INSERT INTO device (id, tenant_id, link_id, kind, site_id, serial_number, serial_tail, model, terminal_class, "
    "family, firmware, label_zh, label_en, sim_phone, search_text, enrolled_at, presence, presence_reason, session, "
    "ended_session, nonce, boot, agent_version, profile, keepalive_s, report_s, capability_digest, command_counter, "
    "condition, condition_rank, worst_code) VALUES (:id, 'default', :id, 'terminal', :site, :id, '', '', '', '', '', "
    "'', '', :sim, :found_by, :at, '', '', '', '', '', '', '', '', 0, 0, '', 0, '', 5, '')"
)


def test_numbers_of_people_leave_what_devices_are_found_by(before: Engine) -> None:
    migrate.upgrade(before)
    with before.connect() as connection:
        rows = connection.execute(text("SELECT id, search_text FROM device")).all()
    assert {row[0]: row[1] for row in rows} == {
        "d-first": "sn1\ndawn",
        "d-mid": "sn2\ndawn",
        "d-last": "sn3\ndawn",
        "d-inside": "sn021-5555 0101x\ndawn",
    }
