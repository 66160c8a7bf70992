"""What a change of presence costs PostgreSQL: the row, and no entry in any index."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from fleet_server.db import transaction
from fleet_server.devices import apply as devices
from fleet_server.devices.models import Device
from fleet_server.devices.presence import Presence
from tests.fleet_server.factories import NOON
from tests.support.engines import postgres_engine
from tests.support.fleet_rows import TENANT, device, make_fleet
from tests.support.postgres import PostgresServer

MANY = 300


@pytest.fixture
def engine(postgres_server: PostgresServer) -> Iterator[Engine]:
    with postgres_engine(postgres_server) as opened:
        yield opened


@pytest.mark.postgres
def test_presence_of_many_touches_no_index(engine: Engine) -> None:
    make_fleet(engine)
    ids = [f"d-many{number:012}" for number in range(MANY)]
    with transaction(engine) as session:
        session.add_all([device(id_, "site-default", "terminal") for id_ in ids])
    with transaction(engine) as session:
        devices._move(session, devices._by_id(session, TENANT, ids), Presence.ONLINE, "", NOON, devices.Applied())
        counted = text(
            "SELECT pg_stat_get_xact_tuples_updated('device'::regclass),"
            " pg_stat_get_xact_tuples_hot_updated('device'::regclass)"
        )
        assert session.execute(counted).one() == (MANY, MANY)
        assert session.get_one(Device, ids[-1]).presence == "online"
