"""Card numbers in everything that a device, a link or a person can say: none may be kept or shown anywhere.

It speaks to a real broker as a link that leaves nothing out, and to each operation of the API as a person; then it
looks into every file of the server, the database's and its write-ahead log too, into every row, what was logged, and
every answer. ``TILLMEDIC_HUNT_NUMBERS`` makes it long.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from pyarrow import parquet
from sqlalchemy import Engine
from sqlmodel import SQLModel, select

from fleet_server.db import open_engine, reading, transaction
from fleet_server.ingest.models import DeadLetter
from fleet_server.kit.times import utc_now
from fleet_server.timeline.models import Event
from protocol import codec
from protocol.capabilities import Capabilities, DeviceCapabilities
from protocol.executions import ExecutionState
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
from tests.fleet_server.api import Api, bearer, running_api
from tests.protocol.redaction.card_samples import FORMS, generated
from tests.support.api_walk import Walk, operations
from tests.support.broker import Broker, running_broker
from tests.support.card_hunt import leaks, leaks_in_files
from tests.support.engines import migrated_postgres, postgres_url
from tests.support.fleet_rows import TERMINAL, make_fleet
from tests.support.ingest_worker import fleet_on_sqlite, running_ingest, settings_for, worker_on
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration

NUMBERS = generated(int(os.environ.get("TILLMEDIC_HUNT_NUMBERS", "270")), seed=15)
# They never end.
STREAMS = {name for name in operations() if name.endswith(("/events", "/live"))}
OPERATIONS = set(operations()) - STREAMS
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


SITE = {
    "merchant_id": "M 1",
    "merchant_name_zh": "店",
    "merchant_name_en": "Shop",
    "name_zh": "店",
    "name_en": "Shop",
    "timezone": "Asia/Shanghai",
    "contact_name": "Li",
    "phone": "13800000000",
    "address": "1 Road",
    "city_zh": "上海",
    "city_en": "Shanghai",
}
CODE = {"serial_number": "S1", "model": "A920", "terminal_class": "smart", "label_zh": "台", "label_en": "Till"}


def write(api: Api) -> Iterator[tuple[int, str]]:
    """What a person writes down, with a number in each field that takes words, by each door."""
    for place, field in enumerate(SITE):
        wrong = {**SITE, field: NUMBERS[20 + place] if field == "phone" else said(20 + place)[:120]}
        answer = api.post("/api/v1/sites", wrong, caller="operator")
        yield answer.status_code, answer.text
        lines = [",".join(wrong), ",".join(wrong.values())]
        answer = api.post("/api/v1/sites/import", {"csv": "\n".join(lines)}, caller="operator")
        yield answer.status_code, answer.text
    for place, field in enumerate(("model", "label_zh", "label_en")):
        wrong = {**CODE, field: f"{NUMBERS[40 + place]} told"}
        answer = api.post("/api/v1/enrolments", wrong, caller="operator")
        yield answer.status_code, answer.text
        lines = [",".join(wrong), ",".join(wrong.values())]
        answer = api.post("/api/v1/enrolments/pallet", {"csv": "\n".join(lines)}, caller="operator")
        yield answer.status_code, answer.text
    answer = api.post("/api/v1/signing/stop", {"reason": said(50)[:300]}, caller="operator")
    yield answer.status_code, answer.text
    answer = api.post("/api/v1/approvals/e-none/refuse", {"reason": said(51)[:300]}, caller="approver")
    yield answer.status_code, answer.text


def tell(api: Api) -> Iterator[tuple[str, str]]:
    """What a person says by each operation, with a number in each place that takes words, as it stands there alone."""
    known = {
        **SITE,
        "terminal_class": "smart",
        "device": api.fleet.terminal,
        "device_id": api.fleet.terminal,
        "action": "net.path",
        "params": {},
    }
    walk = Walk(known)
    for request in walk.requests(NUMBERS[7]):
        if request.operation in STREAMS:
            continue
        for caller in ("operator", "approver"):
            answer = api.client.request(
                request.method, request.path, params=dict(request.query), json=request.body, headers=bearer(caller)
            )
            yield request.operation, answer.text


def exported(api: Api, form: str) -> bytes:
    """Readings of an hour around now."""
    now, hour = utc_now(), timedelta(hours=1)
    between = {"from": (now - hour).isoformat(), "to": (now + hour).isoformat(), "format": form}
    answer = api.get("/api/v1/health/export", caller="operator", **between)
    assert answer.status_code == 200, answer.text
    assert TERMINAL.encode() in answer.content
    content: bytes = answer.content
    return content


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
    for path in ("sites", "enrolments", "audit", "audit/export"):
        yield api.get(f"/api/v1/{path}", caller="operator").text
    yield exported(api, "csv").decode()
    yield str(parquet.read_table(io.BytesIO(exported(api, "parquet"))).to_pydict())
    yield api.get("/metrics").text


@dataclass(frozen=True, slots=True)
class Database:
    """``files``: folders in which it keeps what it knows."""

    engine: Engine
    files: tuple[Path, ...]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        with fleet_on_sqlite(tmp_path) as engine:
            yield Database(engine, (tmp_path,))
        return
    with migrated_postgres() as server, postgres_url(server) as url:
        engine = open_engine(url)
        make_fleet(engine)
        with engine.connect() as link:
            number = link.exec_driver_sql("SELECT oid FROM pg_database WHERE datname = current_database()").scalar_one()
        data = server.socket_dir / "data"
        yield Database(engine, (tmp_path, data / "base" / str(number), data / "pg_wal"))
        engine.dispose()


def rows_of(engine: Engine) -> bytes:
    """All that the database holds, as it reads: what is long it keeps compressed in its files."""
    with engine.connect() as link:
        if engine.dialect.name == "postgresql":
            link.exec_driver_sql("CHECKPOINT")  # so that its files say what it knows
        return b"\n".join(
            str(tuple(row)).encode("utf-8", "surrogateescape")
            for table in SQLModel.metadata.sorted_tables
            for row in link.execute(table.select())
        )


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


def count_letters(engine: Engine) -> int:
    with reading(engine) as session:
        return len(session.exec(select(DeadLetter.id)).all())


def test_nothing_that_a_link_or_a_person_says_leaves_a_whole_number_on_the_server(
    broker: Broker, tmp_path: Path, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = database.engine
    with (
        running_ingest(worker_on(engine, settings_for(broker, tmp_path))),
        closing(WireAgent(broker, TERMINAL)) as link,
    ):
        link.connect()
        link.greet()
        speak(link)
        until(lambda: count_letters(engine) >= 13, "the dead letters")
    with running_api(engine, tmp_path / "api") as api:
        written = list(write(api))
        told = list(tell(api))
        retired = api.post(
            f"/api/v1/devices/{api.fleet.terminal}/retirement",
            {"reason": "stolen", "note": said(60)[:300]},
            caller="operator",
        )
        answers = [*ask(api), *(text for _, text in written), *(text for _, text in told), retired.text]
    with reading(engine) as session:
        events = [event.data for event in session.exec(select(Event).where(Event.type == "security"))]
    rows = rows_of(engine)
    # In each of the forms, and the one that was said at every operation; all that are would take minutes.
    looked_for = NUMBERS if len(database.files) == 1 else NUMBERS[: max(62, len(WRITTEN))]
    kept = {name: those for folder in database.files for name, those in leaks_in_files(looked_for, folder).items()}
    assert kept == {}
    assert leaks(NUMBERS, rows) == []
    assert leaks(NUMBERS, "".join(capfd.readouterr()).encode()) == []
    assert {status for status, _ in written} == {422}
    assert {operation for operation, _ in told} == OPERATIONS
    assert retired.status_code < 300, retired.text
    assert [answer for answer in answers if leaks(NUMBERS, answer.encode())] == []
    assert sum("CARD_DATA_FOUND" in str(data) for data in events) >= len(NUMBERS)


def test_the_hunt_finds_a_number_in_the_database(database: Database) -> None:
    now = utc_now()
    with transaction(database.engine) as session:
        for text in (NUMBERS[0], f"told {NUMBERS[1]} " * 300):  # what is long is compressed in PostgreSQL's files
            row = Event(
                tenant_id="default", device_id=TERMINAL, type="note", at=now, received_at=now, data={"text": text}
            )
            session.add(row)
    assert set(leaks(NUMBERS[:4], rows_of(database.engine))) == set(NUMBERS[:2])
    for folder in database.files[-2:]:
        found = {one for those in leaks_in_files(NUMBERS[:4], folder).values() for one in those}
        assert NUMBERS[0] in found, folder


def deflated(number: str) -> str:
    return zlib.compress(number.encode() * 9).decode("latin-1")


@pytest.mark.parametrize("hide", [FORMS["plain"], FORMS["base64"], FORMS["hex of ascii"], deflated])
def test_the_hunt_finds_a_number_that_was_left(tmp_path: Path, hide: Callable[[str], str]) -> None:
    (tmp_path / "leak.bin").write_bytes(b"\0\1" + hide(NUMBERS[0]).encode("latin-1") + b"\2")
    assert leaks_in_files(NUMBERS, tmp_path) == {str(tmp_path / "leak.bin"): [NUMBERS[0]]}
