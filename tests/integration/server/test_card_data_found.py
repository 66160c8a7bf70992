"""A card number that an agent let through: masked at the server's door, told on the device's page, counted."""

from __future__ import annotations

import re

import httpx2
import pytest

from fleet_server.db import transaction
from protocol import codec
from protocol.records import FaultRaised, Outcome, Severity, Verdict
from protocol.streams import StreamKind
from protocol.topics import Up
from tests.fleet_server.api import bearer
from tests.fleet_server.factories import TENANT
from tests.integration.server.conftest import Server
from tests.integration.server.test_two_tenants import sign_in
from tests.support.card_hunt import leaks
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration
NUMBER = "6222020000000007"
COUNTED = re.compile(r'^tillmedic_ingest_total\{counted="card_data",worker="[^"]+"\} ([0-9.]+)$', re.MULTILINE)


def counted_in(metrics: str) -> float:
    found = COUNTED.search(metrics)
    return 0 if found is None else float(found[1])


def test_a_number_that_an_agent_let_through_is_told_on_the_page_and_counted(server: Server, agent: WireAgent) -> None:
    terminal = server.fleet.terminal
    with transaction(server.engine) as session:
        cookie = sign_in(session, TENANT)
    agent.connect()
    agent.greet()
    agent.send(
        FaultRaised("escpos.PAPER_OUT", Severity.MAJOR, 1, 1, evidence=f"paid with {NUMBER} and {NUMBER}"),
        Verdict("net.path", Outcome.PASS, value=NUMBER),
        Verdict("net.path", Outcome.PASS, evidence="order 20260302101112000001 is paid"),
        device=terminal,
    )
    last = agent.send(Verdict("agent.echo", Outcome.PASS, evidence="the last"), device=terminal)
    agent.publish(Up.BULK, b"not a batch, but told " + NUMBER.encode(), codec.JSON_DEFLATE)
    agent.await_ack(last, StreamKind.URGENT)
    with httpx2.Client(base_url=server.url, headers={"Accept-Language": "en"}, timeout=20) as client:
        page, told = f"/devices/{terminal}?types=notes", f"/devices/{server.fleet.gateway}?types=notes"
        until(lambda: "dead letter" in client.get(told, headers=cookie).text, "the dead letter is told")
        pages = [client.get(path, headers=cookie).text for path in (page, told, f"/devices/{terminal}")]
        api = client.get(f"/api/v1/devices/{terminal}/timeline?types=security", headers=bearer("support"))
        until(lambda: counted_in(client.get("/metrics").text) >= 4, "the count")
        metrics = client.get("/metrics").text
    events = [event["data"] for event in api.json()["items"]]
    assert sorted(event["detail"] for event in events) == ["1 removed from a verdict", "2 removed from a fault_raised"]
    assert {event["code"] for event in events} == {"agent.CARD_DATA_FOUND"}
    for detail in ("2 removed from a fault_raised", "1 removed from a verdict"):
        assert detail in pages[0]
    assert "1 removed from a dead letter" in pages[1]
    assert "agent.CARD_DATA_FOUND" in pages[0]
    assert counted_in(metrics) == 4
    assert [leaks([NUMBER], text.encode()) for text in (*pages, api.text, metrics)] == [[]] * 5
