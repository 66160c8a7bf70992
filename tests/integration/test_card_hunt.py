"""Card numbers in everything that a device, a link or a person can say: none may be kept or shown anywhere.

It speaks to a real broker as a link that leaves nothing out, and to the API as a person; then it looks into every file
of the server, database and write-ahead log too, and into every answer. ``TILLMEDIC_HUNT_NUMBERS`` makes it long.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.db import reading
from fleet_server.ingest.models import DeadLetter
from fleet_server.timeline.models import Event
from protocol import codec
from protocol.capabilities import Capabilities, DeviceCapabilities
from protocol.commands import ExecutionState
from protocol.records import (
    ExecutionReport,
    FaultCleared,
    FaultRaised,
    HealthColumns,
    Outcome,
    RecordBody,
    Sample,
    SecurityEvent,
    Severity,
    Verdict,
)
from protocol.streams import StreamKind
from protocol.topics import Up
from tests.fleet_server.api import Api, running_api
from tests.protocol.redaction.card_samples import FORMS, generated
from tests.support.broker import Broker, running_broker
from tests.support.card_hunt import leaks, leaks_in_files
from tests.support.fleet_rows import TERMINAL
from tests.support.ingest_worker import fleet_on_sqlite, running_ingest, settings_for, worker_on
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration

NUMBERS = generated(int(os.environ.get("TILLMEDIC_HUNT_NUMBERS", "270")), seed=15)
WRITTEN = [FORMS[form] for form in sorted(FORMS)]


def said(place: int) -> str:
    """A number in one of the forms, as somebody says it among other words."""
    return f"told {WRITTEN[place % len(WRITTEN)](NUMBERS[place])} just now"


def bodies(place: int) -> Iterator[RecordBody]:
    text, number = said(place)[:500], int(NUMBERS[place])
    short = NUMBERS[place]
    yield FaultRaised("escpos.PAPER_OUT", Severity.MAJOR, 1, 1, evidence=text)
    yield FaultCleared("escpos.PAPER_OUT", 1, 2, evidence=text)
    yield Verdict("net.path", Outcome.PASS, item=short, value=short, unit=short, evidence=text)
    yield Verdict("net.path", Outcome.PASS, value=number if number < 2**63 else 0)
    yield ExecutionReport(
        "00000000-0000-4000-8000-000000000000",
        ExecutionState.RUNNING,
        step=short,
        code=short,
        detail=text,
        output_tail=text,
    )
    yield SecurityEvent("agent.CLOCK_SET", text)


def speak(link: WireAgent) -> None:
    """Everything that a link can say, with a number in it."""
    link.publish(Up.HELLO, b"not a hello " + said(0).encode())
    link.hello(agent_version=f"wire {NUMBERS[1]}")
    device = DeviceCapabilities(TERMINAL, "host", "smart", [], model=f"M {NUMBERS[2]}", firmware=NUMBERS[3])
    link.publish(Up.CAPABILITIES, codec.to_json(Capabilities([device])))
    last = 0
    for place in range(len(NUMBERS)):
        last = link.send(*bodies(place))
        columns: dict[str, list[Sample]] = {
            "a.text": [NUMBERS[place]],
            "a.number": [float(NUMBERS[place])],
            "a.fine": [1.5],
        }
        link.send(HealthColumns(link.wall_ms(), 1000, 1, columns), kind=StreamKind.BULK)
    for place in range(4):
        broken = b'{"device":"%s","%s":1}' % (TERMINAL.encode(), NUMBERS[place].encode())
        link.send_at(link.next_seq[StreamKind.URGENT], [broken])
        link.next_seq[StreamKind.URGENT] += 1
        wrong = zlib.compress(b"[" + said(place).encode() * 5 + b"]")
        link.publish(Up.URGENT, wrong, codec.JSON_DEFLATE)
        link.publish(Up.BULK, said(place).encode(), f"text/{NUMBERS[place]}")
        link.publish(Up.LIVE, said(place).encode())
    link.await_ack(last + 4)
    link.await_ack(link.next_seq[StreamKind.BULK] - 1, StreamKind.BULK)
    link.goodbye(f"after {NUMBERS[4]}")


def ask(api: Api) -> Iterator[str]:
    """What a person may type by mistake, and all that a person may then read."""
    number = NUMBERS[5]
    body = {"device": api.fleet.terminal, "action": "net.path", "params": {"count": 2}, "override_reason": said(6)}
    for wrong in (
        {},
        {"params": {"count": int(number)}},
        {"params": {number: 1}},
        {"action": number},
        {number: number},
    ):
        yield api.post("/api/v1/executions", {**body, **wrong}).text
    for path in (number, f"devices/{number}", f"devices?cursor={number}", f"devices?limit={number}"):
        yield api.get(f"/api/v1/{path}").text
    of_device = ("", "/timeline", "/health")
    for path in ("devices", "faults", "executions", "dead-letters", *(f"devices/{TERMINAL}{one}" for one in of_device)):
        yield api.get(f"/api/v1/{path}", caller="operator").text
    yield api.get("/metrics").text


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


def count_letters(engine: Engine) -> int:
    with reading(engine) as session:
        return len(session.exec(select(DeadLetter.id)).all())


def test_nothing_that_a_link_or_a_person_says_leaves_a_whole_number_on_the_server(
    broker: Broker, tmp_path: Path
) -> None:
    with fleet_on_sqlite(tmp_path) as engine:
        with (
            running_ingest(worker_on(engine, settings_for(broker, tmp_path))),
            closing(WireAgent(broker, TERMINAL)) as link,
        ):
            link.connect()
            link.greet()
            speak(link)
            until(lambda: count_letters(engine) >= 13, "the dead letters")
        with running_api(engine, tmp_path / "api") as api:
            answers = list(ask(api))
        with reading(engine) as session:
            events = [event.data for event in session.exec(select(Event).where(Event.type == "security"))]
        kept = leaks_in_files(NUMBERS, tmp_path)
    assert kept == {}
    assert [answer for answer in answers if leaks(NUMBERS, answer.encode())] == []
    assert sum("CARD_DATA_FOUND" in str(data) for data in events) >= len(NUMBERS)


def deflated(number: str) -> str:
    return zlib.compress(number.encode() * 9).decode("latin-1")


@pytest.mark.parametrize("hide", [FORMS["plain"], FORMS["base64"], FORMS["hex of ascii"], deflated])
def test_the_hunt_finds_a_number_that_was_left(tmp_path: Path, hide: Callable[[str], str]) -> None:
    (tmp_path / "leak.bin").write_bytes(b"\0\1" + hide(NUMBERS[0]).encode("latin-1") + b"\2")
    assert leaks_in_files(NUMBERS, tmp_path) == {str(tmp_path / "leak.bin"): [NUMBERS[0]]}
