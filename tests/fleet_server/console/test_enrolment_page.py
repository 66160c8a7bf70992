"""The page of devices on their way in and out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, update
from sqlmodel import select
from starlette.testclient import TestClient

from fleet_server.auth.models import LoginSession
from fleet_server.console.enrolment_words import ENROLMENT_STATES, RETIREMENT_REASONS, TERMINAL_CLASSES
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device, Site
from fleet_server.enrollment.codes import State
from fleet_server.enrollment.retirement import Reason
from fleet_server.kit.times import utc_now
from protocol.catalogue.vocabulary import TerminalClass
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import device_id
from tests.fleet_server.console.test_doors import csrf_of
from tests.fleet_server.factories import settings
from tests.support.enrolling import Device as Terminal
from tests.support.enrolling import prepare_installation
from tests.support.issuer import local_issuer

TILL = device_id("till_one")


@pytest.fixture(autouse=True)
def _installed(console_app: FastAPI, tmp_path: Path) -> Iterator[None]:
    made = settings(tmp_path)
    prepare_installation(made)
    console_app.state.issuer = local_issuer(made, utc_now)
    yield
    console_app.state.issuer.close()


@pytest.fixture
def operator(browser: Browser, console_engine: Engine) -> TestClient:
    """Has just shown who is at the screen."""
    client = browser("operator", language="en")
    with transaction(console_engine) as session:
        session.execute(update(LoginSession).values(stepped_up_at=utc_now()))
    return client


def send(client: TestClient, path: str, **fields: str) -> tuple[int, str]:
    answer = client.post(path, data={**fields, "csrf": csrf_of(client)})
    return answer.status_code, answer.text


def wanted(**more: str) -> dict[str, str]:
    return {"serial_number": "NEW0001", "model": "A920", "terminal_class": "e_sign", **more}


def test_a_code_is_shown_once_with_its_qr_code(operator: TestClient) -> None:
    status, html = send(operator, "/enrolment/codes", **wanted())
    assert status == 200, html
    code = re.search(r"--code ([0-9A-Z-]{47})", html)
    assert code is not None
    assert "<svg" in html
    listed = operator.get("/enrolment").text
    assert "NEW0001" in listed
    assert code[1] not in listed


def test_a_device_that_waits_is_let_in_at_its_site(operator: TestClient, console_engine: Engine) -> None:
    _, html = send(operator, "/enrolment/codes", **wanted())
    code = re.search(r"--code ([0-9A-Z-]{47})", html)
    assert code is not None
    terminal = Terminal(operator, "NEW0001", "A920")
    assert terminal.enrol(code[1]).status_code == 202
    waiting = re.search(r"/enrolment/([0-9a-f-]{36})/approve", operator.get("/enrolment").text)
    assert waiting is not None
    status, html = send(operator, f"/enrolment/{waiting[1]}/approve", site="no such merchant")
    assert (status, "There is no such site" in html) == (422, True)
    with reading(console_engine) as session:
        merchant = session.exec(select(Site.merchant_id).limit(1)).one()
    assert send(operator, f"/enrolment/{waiting[1]}/approve", site=merchant)[0] == 303
    assert terminal.enrol(code[1]).status_code == 200


def test_a_device_is_taken_out_of_service_with_a_reason(operator: TestClient, console_engine: Engine) -> None:
    assert "Take out of service" in operator.get(f"/devices/{TILL}").text
    assert "For good" in operator.get(f"/devices/{TILL}/retirement").text
    assert send(operator, f"/devices/{TILL}/retirement", reason="nonsense")[0] == 422
    assert send(operator, f"/devices/{TILL}/retirement", reason="stolen", note="<b>from the counter")[0] == 303
    with reading(console_engine) as session:
        device = session.get(Device, TILL)
    assert device is not None
    assert device.retired_at is not None
    html = operator.get("/enrolment").text
    assert "stolen or lost" in html
    assert "&lt;b&gt;from the counter" in html
    assert operator.get(f"/devices/{TILL}").status_code == 404


@pytest.mark.parametrize(
    "path", ["/enrolment/codes", f"/devices/{TILL}/retirement", "/enrolment/x/approve", "/enrolment/x/refuse"]
)
def test_without_a_fresh_proof_nothing_is_done(browser: Browser, console_engine: Engine, path: str) -> None:
    client = browser("operator", language="en")
    with transaction(console_engine) as session:
        session.execute(update(LoginSession).values(stepped_up_at=None))
    answer = client.post(path, data={**wanted(reason="stolen"), "csrf": csrf_of(client)})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/step-up")


@pytest.mark.parametrize("role", ["viewer", "technician", "support"])
def test_it_is_not_for_everybody(browser: Browser, role: str) -> None:
    client = browser(role)
    assert client.get("/enrolment").status_code == 403
    assert client.get(f"/devices/{TILL}/retirement").status_code == 403
    assert "/retirement" not in client.get(f"/devices/{TILL}").text
    assert send(client, f"/devices/{TILL}/retirement", reason="stolen")[0] == 403


def test_there_are_words_for_everything() -> None:
    assert set(ENROLMENT_STATES) == {one.value for one in State}
    assert set(RETIREMENT_REASONS) == {one.value for one in Reason}
    assert set(TERMINAL_CLASSES) == {one.value for one in TerminalClass}
