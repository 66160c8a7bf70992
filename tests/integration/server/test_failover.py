"""A standby that was behind takes over under the running server: what was acknowledged and lost is sent again, once,
and the next command is obeyed. Nobody restarts or restores anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlmodel import select

from fleet_server.db import reading
from fleet_server.timeline.models import Event
from protocol.streams import StreamKind
from tests.integration.server.test_restore import make_installation, numbers, running, running_agent
from tests.support.engines import migrated_postgres
from tests.support.postgres import Durability, PostgresServer, binaries
from tests.support.standby import promote, running_standby, wait_until_followed
from tests.support.wire_agent import until

pytestmark = [pytest.mark.integration, pytest.mark.postgres]


@dataclass(frozen=True, slots=True)
class Pair:
    """``door`` is the address that the server knows: it leads to one of the two."""

    primary: PostgresServer
    standby: PostgresServer
    door: Path

    def take_over(self) -> None:
        self.primary.kill()
        self.standby.start()
        self.door.unlink()
        self.door.symlink_to(self.standby.socket_dir)
        promote(self.standby)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with migrated_postgres(Durability.WHEN_KILLED) as primary:
        primary.create("fleet", "template1")
        bin_dir = binaries()
        assert bin_dir is not None
        with running_standby(bin_dir, primary) as standby:
            door = tmp_path / "door"
            door.symlink_to(primary.socket_dir)
            yield Pair(primary, standby, door)


def test_after_a_failover_with_lag_agents_fill_the_gap_and_obey(pair: Pair, short_folder: Path) -> None:
    made = make_installation(short_folder, f"postgresql+psycopg://tillmedic@/fleet?host={pair.door}")
    device = made.devices["esign1"].id
    with running_agent(made) as agent, running(made.settings, made.api_token or "", device) as desk:
        until(lambda: desk.http.get(f"/api/v1/devices/{device}").json()["capabilities"]["checks"], "the agent")
        told = [desk.echo()["state"] for _ in range(2)]
        wait_until_followed(pair.primary, pair.standby)
        pair.standby.stop()
        told += [desk.echo()["state"] for _ in range(3)]
        outbox = agent.runner.core.outbox
        until(lambda: all(not outbox.in_flight(kind) for kind in StreamKind), "all to be acknowledged")
        before, lost = outbox.db_epoch, agent.spool.positions()[StreamKind.URGENT].last
        pair.take_over()
        until(lambda: outbox.db_epoch != before, "the agent to see a new epoch by itself")
        until(lambda: desk.http.get("/readyz").status_code == 200, "the API to have the database again")
        told.append(desk.echo()["state"])
        urgent = agent.spool.positions()[StreamKind.URGENT]
        wanted = list(range(1, urgent.last + 1))
        until(lambda: numbers(desk.engine, urgent.stream) == wanted, "the gap to be filled")
        with reading(desk.engine) as session:
            events = session.exec(select(Event).where(Event.type == "verdict")).all()
    assert told == ["SUCCEEDED"] * 6
    assert urgent.last > lost
    assert len({event.data["execution"] for event in events}) == len(events) == 6
