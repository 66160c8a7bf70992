"""What ingest asks SQLite goes to the rows that it is about, however many devices, links and blocks there are."""

from __future__ import annotations

import re
from datetime import timedelta

from sqlalchemy import Engine

from fleet_server.db import reading
from fleet_server.health.latest import FOLD_AFTER
from fleet_server.health.repository import HealthRepository
from protocol.records import FaultRaised, HealthColumns, Outcome, Severity, Verdict
from protocol.session import StreamPosition
from protocol.streams import StreamKind
from tests.support.fleet_rows import GATEWAY, OTHER, PINPAD, PRINTER, TENANT, TERMINAL, make_fleet
from tests.support.flush_rig import URGENT, FlushRig
from tests.support.health_blocks import fold_due
from tests.support.plans import plans_of

# A tenant's rows are the whole fleet's; all others are bounded by a device or a link.
_WHOLE_FLEET = re.compile(r"(SCAN (?!json_each)[a-z]\w*|SEARCH \w+ USING (COVERING )?INDEX \w+ \(tenant_id=\?\))")


def walks(plans: dict[str, list[str]]) -> list[str]:
    return [f"{line}: {statement}" for statement, plan in plans.items() for line in plan if _WHOLE_FLEET.match(line)]


def fault(rig: FlushRig) -> FaultRaised:
    return FaultRaised("escpos.PAPER_OUT", Severity.MAJOR, rig.wall_ms(), rig.wall_ms())


def health(rig: FlushRig) -> HealthColumns:
    return HealthColumns(rig.wall_ms(3600), 60_000, 60, {"batt.level_pct": [50.0] * 60})


def test_a_flush_of_many_links_reads_no_table_from_end_to_end(sqlite_engine: Engine) -> None:
    make_fleet(sqlite_engine)
    rig = FlushRig(sqlite_engine)
    with plans_of(sqlite_engine) as plans:
        for first in (1, 2):
            rig.flush(
                rig.hello(
                    GATEWAY,
                    alive=[PRINTER],
                    silent=[PINPAD],
                    positions=[StreamPosition(URGENT, StreamKind.URGENT, 1, 1, 0)],
                ),
                rig.batch(GATEWAY, first, fault(rig), device=PRINTER),
                rig.batch(TERMINAL, first, Verdict("net.path", Outcome.PASS)),
                rig.batch(OTHER, first, health(rig), kind=StreamKind.BULK),
                rig.batch(TERMINAL, first, health(rig), kind=StreamKind.BULK),
                rig.presence(OTHER),
            )
            rig.pass_time(60)
    assert len(plans) > 15, plans
    assert walks(plans) == []


def test_folding_and_latest_values_go_to_their_devices(sqlite_engine: Engine) -> None:
    make_fleet(sqlite_engine)
    rig = FlushRig(sqlite_engine)
    rig.flush(*[rig.batch(link, 1, health(rig), kind=StreamKind.BULK) for link in (TERMINAL, OTHER)])
    with plans_of(sqlite_engine) as plans:
        assert fold_due(sqlite_engine, TENANT, rig.now + FOLD_AFTER + timedelta(days=1)).blocks == 2
        with reading(sqlite_engine) as session:
            assert len(HealthRepository(session, TENANT).latest_of([TERMINAL, OTHER])) == 2
    assert walks(plans) == []
