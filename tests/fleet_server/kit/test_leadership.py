from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.engine import create_engine

from fleet_server.kit.leadership import Leadership
from tests.support.wire_agent import until


def test_one_leads_and_another_takes_over_when_it_is_gone(engine: Engine) -> None:
    other_process = create_engine(engine.url)
    first, second = Leadership(engine, "work", 77), Leadership(other_process, "work", 77)
    assert first.holds()
    assert not second.holds()
    assert first.holds()
    first.give_up()
    assert second.holds()
    assert not first.holds()
    second.give_up()
    other_process.dispose()


def test_leader_whose_connection_was_cut_leads_no_more_until_it_asks_again(engine: Engine) -> None:
    leader = Leadership(engine, "work", 78)
    assert leader.holds()
    if leader._connection is not None:
        leader._connection.connection.dbapi_connection.close()  # type: ignore[union-attr]  # connected, as asserted
        assert not leader.holds()
    # A backend whose client has gone lets go of its lock a moment later.
    until(leader.holds, "the lock of the connection that was cut to be free")
    leader.give_up()
