"""The whole product on PostgreSQL instead of the embedded SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.demo_client import Demo
from tests.support.postgres import binaries, running_postgres
from tests.support.required import missing

pytestmark = [pytest.mark.acceptance, pytest.mark.postgres]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    found = binaries()
    if found is None:
        missing("PostgreSQL is not installed (Debian package postgresql)")
    with running_postgres(found) as server:
        server.create("demo")
        demo = Demo(tmp_path / "state", database_url=server.url("demo"))
        try:
            demo.start()
            yield demo
        finally:
            demo.stop()


def test_a_check_runs_and_a_fault_is_raised_and_cleared(demo: Demo) -> None:
    checked = demo.run("esign1", "agent.echo")
    assert (checked["state"], checked["verdict"]) == ("SUCCEEDED", "pass")
    demo.break_("prn1", "paper_out")
    demo.until_open("prn1", "escpos.eot4.paper_end")
    demo.mend("prn1")
    demo.until_no_fault("prn1")
    told = {event["type"] for event in demo.timeline("prn1", "fault_raised,fault_cleared")}
    assert told == {"fault_raised", "fault_cleared"}
    assert not (demo.data / "server" / "fleet.db").exists()
