"""Everything a device or a caller may say is hostile: it must come out as text wherever it is shown."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from sqlalchemy import Engine

from fleet_server.db import transaction
from fleet_server.devices.models import Capability, Device, Site
from fleet_server.faults.models import Fault
from fleet_server.kit.times import utc_now
from fleet_server.timeline.writer import NewEvent, append_events
from protocol.commands import ExecutionState
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.declared import SYNC
from tests.fleet_server.console.examples import TENANT, device_id
from tests.fleet_server.console.history import execution, run_id, verdict
from tests.support.health_rows import put_newest

TILL = device_id("till_one")
RUN = run_id(ExecutionState.RUNNING, 9)
CORPUS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title><svg/onload=alert(1)>",
    "{{7*7}}{% raw %}",
    "<hx-partial hx-target='#main'>taken over</hx-partial>",
    "javascript:alert(1)//",
    "\u202eexe.<b>",
    "%(n)s %s {0}",
)
_FORBIDDEN = {"script", "img", "svg/onload", "hx-partial", "iframe", "object", "base"}


class Watcher(HTMLParser):
    """Collects what hostile text would have made: foreign tags, handlers, script addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        is_ours = tag == "script" and all(
            name != "src" or (value or "").startswith("/static/") for name, value in attrs
        )
        if tag in _FORBIDDEN and not (is_ours and dict(attrs).get("src")):
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (name in {"href", "src", "action"} and (value or "").startswith("javascript:")):
                self.found.append(f"{tag} {name}={value}")


def foreign(html: str) -> list[str]:
    watcher = Watcher()
    watcher.feed(html)
    return watcher.found


@pytest.fixture(params=CORPUS)
def hostile(request: pytest.FixtureRequest, console_engine: Engine) -> str:
    text: str = request.param
    with transaction(console_engine) as session:
        device, site = session.get(Device, TILL), session.get(Site, "s-noodles-0000")
        declared = session.get(Capability, TILL)
        assert device is not None
        assert site is not None
        assert declared is not None
        for name in ("label_zh", "label_en", "serial_number", "model", "firmware", "presence_reason", "sim_phone"):
            setattr(device, name, text[:20] if name == "sim_phone" else text)
        device.worst_code, device.terminal_id, device.search_text = text, text[:32], f"60210000\n{text.lower()}"
        for name in ("merchant_name_zh", "merchant_name_en", "name_zh", "name_en", "city_zh", "city_en", "merchant_id"):
            setattr(site, name, text)
        declared.document = _declared(declared.document, text)
        put_newest(session, TENANT, TILL, {text: text[:64], f"{text[:60]}#": 5.0, "net.rtt_ms": 1}, utc_now())
        session.add(_fault(text))
        row = execution(ExecutionState.FAILED, SYNC, utc_now(), number=9)
        row.id, row.code, row.detail, row.actor, row.output_tail = RUN, text, text, text, text
        row.override_reason, row.params = text, {"name": text}
        session.add(row)
        session.flush()
        append_events(session, TENANT, _events(text), utc_now())
    return text


def _declared(document: dict[str, Any], text: str) -> dict[str, Any]:
    actions = [
        {**action, "title": {"zh": text, "en": text}, "explains": {"zh": text, "en": text}, "unit": text[:24]}
        for action in document["actions"]
    ]
    return {**document, "actions": actions}


def _fault(text: str) -> Fault:
    now = utc_now()
    return Fault(
        id="f-hostile",
        tenant_id=TENANT,
        device_id=TILL,
        code=text,
        severity=text[:16],
        raised_ms=1,
        raised_at=now,
        last_seen_at=now,
        is_open=True,
        evidence=text,
    )


def _events(text: str) -> list[NewEvent]:
    now = utc_now()
    said = dict.fromkeys(
        ("code", "detail", "evidence", "reason", "text", "state", "status", "severity", "action"), text
    )
    types = (
        "presence",
        "fault_raised",
        "fault_cleared",
        "execution",
        "note",
        "security",
        "gap",
        "capabilities",
        text[:24],
    )
    return [
        *(NewEvent(TILL, kind, now, {**said, "kind": text, "actor": text}, actor=text) for kind in types),
        NewEvent(TILL, "reading", now, {"metrics": {text: text}}),
        NewEvent(TILL, "verdict", now, _verdict(text), execution_id=RUN),
    ]


def _verdict(text: str) -> dict[str, Any]:
    said = verdict(text, text, text, unit=text, evidence=text, codes=[text], limits={"low": text, "high": [text]})
    return {**said, "phase": text, "action": text, "duration_ms": text}


PATHS = (
    "/",
    f"/devices/{TILL}",
    f"/runs/{RUN}",
    "/runs",
    "/search?q=60210000",
    "/search/palette?q=60210000",
    f"/devices/{TILL}/health",
    "/distribution?metric=net.rtt_ms",
    f"/devices/{TILL}/actions/printer.print_test",
    "/audit",
    "/demo",
)


def test_hostile_text_of_a_device_stays_text_on_every_page(browser: Browser, hostile: str) -> None:
    client = browser("operator", language="en")
    for path in PATHS:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert foreign(answer.text) == [], path


@pytest.mark.parametrize("text", CORPUS)
def test_hostile_text_in_an_address_stays_text(browser: Browser, text: str) -> None:
    client = browser("operator")
    health = f"/devices/{TILL}/health"
    for name, path in (
        ("q", "/"),
        ("model", "/"),
        ("q", "/search"),
        ("phone", "/open"),
        ("actor", "/audit"),
        ("refused", "/demo"),
        *((name, health) for name in ("m", "from", "to")),
        *((name, "/distribution?metric=net.rtt_ms") for name in ("by", "model", "site")),
    ):
        answer = client.get(path, params={name: text})
        assert answer.status_code == 200
        assert foreign(answer.text) == []
    assert foreign(client.get("/sign-in", params={"next": text}).text) == []
    assert foreign(client.get(f"/devices/{text}").text) == []
