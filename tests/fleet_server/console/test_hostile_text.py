"""Everything a device or a caller may say is hostile: it must come out as text wherever it is shown."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from fleet_server.db import transaction
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.hostile_rows import RUN, TILL, plant_till
from tests.support.hostile import MARKUP, foreign


@pytest.fixture(params=MARKUP)
def hostile(request: pytest.FixtureRequest, console_engine: Engine) -> str:
    text: str = request.param
    with transaction(console_engine) as session:
        plant_till(session, text)
    return text


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


@pytest.mark.parametrize("text", MARKUP)
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
