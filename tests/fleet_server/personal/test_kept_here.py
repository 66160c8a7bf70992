"""What is stored about people stays in the database of the installation: none of it reaches the broker and the agent,
logs, metrics, or what a crash leaves behind.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import pkgutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import msgspec
import pytest
import structlog
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import DBAPIError

import protocol
from fleet_server.auth.models import User
from fleet_server.db import transaction
from fleet_server.devices.models import Site
from fleet_server.logs import configure_logs, without_rows
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.factories import NOON, TENANT

NAME, PHONE, ADDRESS, WHY = "王大锤", "13877776666", "虚构大道 4711 号", "王大锤 said so, call 13877776666"
# What of staff a terminal is told, signed: it compares who asked with who allowed.
ON_THE_WIRE = {("Command", "requester"), ("Authorisation", "requester"), ("Approver", "name")}
ABOUT_PEOPLE = {"name", "requester", "contact", "contact_name", "phone", "address", "email", "by", "people"}


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        with transaction(engine) as session:
            row = session.get_one(Site, running.fleet.site)
            row.contact_name, row.phone, row.address = NAME, PHONE, ADDRESS
        yield running


def told(written: str) -> list[str]:
    forms = [form for word in (NAME, PHONE, ADDRESS) for form in (word, json.dumps(word)[1:-1])]
    return [form for form in forms if form in written]


def test_nothing_about_a_merchant_is_published(api: Api) -> None:
    body = {"device": api.fleet.terminal, "action": "agent.echo", "params": {}, "override_reason": WHY}
    assert api.post("/api/v1/executions", body).status_code == 201
    assert api.get(f"/api/v1/devices/{api.fleet.terminal}").json()["site"]["phone"] == PHONE
    assert api.broker.published
    for topic, payload in api.broker.published:
        document = json.loads(payload)
        inner = base64.b64decode(document["payload"]).decode() if "payload" in document else ""
        assert not told(topic + payload.decode() + inner)


def test_no_message_has_a_field_for_people_but_those_that_are_signed() -> None:
    found = set()
    for module in pkgutil.walk_packages(protocol.__path__, "protocol."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                found |= {(kind.__name__, name) for name in kind.__struct_fields__ if name in ABOUT_PEOPLE}
    # Actions, parameters and the like have names too.
    assert {one for one in found if one[1] != "name" or one[0] == "Approver"} == ON_THE_WIRE, found


def test_metrics_and_logs_tell_nothing(api: Api) -> None:
    out = io.StringIO()
    kept = structlog.get_config()
    try:
        with redirect_stdout(out):
            configure_logs()
            structlog.configure(cache_logger_on_first_use=False, logger_factory=structlog.PrintLoggerFactory(out))
            api.get("/api/v1/devices", q=PHONE)
            api.get(f"/api/v1/sites/{api.fleet.site}")
            headers = {"Authorization": "Bearer tm_support"}
            api.client.patch(f"/api/v1/sites/{api.fleet.site}", json={"phone": f"{PHONE} {NAME}"}, headers=headers)
            broken = {"device": api.fleet.terminal, "action": "no.such", "params": {}, "override_reason": WHY}
            api.post("/api/v1/executions", broken)
            metrics = api.client.get("/metrics").text
    finally:
        structlog.configure(**kept)
    assert not told(metrics)
    assert not told(out.getvalue())


def test_an_error_of_the_database_does_not_say_whose_row_it_was(engine: Engine) -> None:
    row = {"tenant_id": TENANT, "name": NAME, "password_hash": "", "role": "viewer", "created_at": NOON}
    out = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[structlog.processors.format_exc_info, without_rows, structlog.processors.JSONRenderer()],
    )
    with transaction(engine) as session:
        session.execute(insert(User).values(id="u-1", **row))
    with pytest.raises(DBAPIError) as raised, transaction(engine) as session:
        session.execute(insert(User).values(id="u-2", **row))
    log.error("a request failed", exc_info=raised.value, error=str(raised.value))
    assert "uq_person_name" in out.getvalue() or "UNIQUE" in out.getvalue()
    assert not told(out.getvalue())
    with pytest.raises(DBAPIError) as broken, transaction(engine) as session:
        session.execute(text("SELECT no_such_column FROM site WHERE phone = :phone"), {"phone": PHONE})
    assert not told(str(broken.value))
