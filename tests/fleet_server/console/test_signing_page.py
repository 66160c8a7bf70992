"""The page of who lets changes out: it shows, it stops, it takes away; it never signs."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from fleet_server.approvals.broken_glass import BreakGlassWatch
from fleet_server.approvals.models import BREAK_GLASS, ShiftPermit
from fleet_server.db import transaction
from fleet_server.enrollment.authority import Root
from fleet_server.enrollment.ends import EndsWatch
from fleet_server.issuer.opening import places_of
from fleet_server.kit.times import utc_now
from tests.architecture.source_tree import ROOT, imported_modules
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import TENANT, device_id
from tests.fleet_server.console.test_doors import csrf_of
from tests.fleet_server.factories import settings
from tests.support.enrolling import prepare_installation

TILL = device_id("till_one")


def add_permit(engine: Engine, number: int = 1, *, people: str = "mei", reason: str = "night shift") -> str:
    now = utc_now()
    row = ShiftPermit(
        id=f"0198d0a0-0000-7000-8000-{number:012}",
        tenant_id=TENANT,
        people=people,
        envelope="{}",
        actions=["app.restart", "printer.print_test"],
        target_count=2,
        max_count=20,
        max_per_device=3,
        reason=reason,
        not_before=now - timedelta(minutes=5),
        not_after=now + timedelta(hours=2),
        created_at=now,
    )
    with transaction(engine) as session:
        session.add(row)
    return row.id


def test_a_stop_is_in_the_hands_of_one_operator_and_every_page_says_so(browser: Browser, tmp_path: Path) -> None:
    client = browser("operator", language="en")
    asked = client.post(f"/devices/{TILL}/runs", data={"action": "clock.sync", "csrf": csrf_of(client)})
    assert asked.status_code == 303
    before = client.get("/signing").text
    assert "Everything that waits is cancelled" in before
    assert "Stop all signing now" in before
    answer = client.post("/signing/stop", data={"reason": "fixes nobody asked for", "csrf": csrf_of(client)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/signing")
    after = client.get("/signing").text
    assert "A stop is in force." in after
    assert "Pulled by operator" in after
    assert "fixes nobody asked for" in after
    assert "Stop all signing now" not in after
    assert "fleet-server signing lift" in after
    cancelled = after[after.index("Cancelled by the stop") : after.index("Waiting for approvers")]
    assert asked.headers["location"] in cancelled
    for path in ("/", "/runs", f"/devices/{TILL}", "/account"):
        assert 'id="stopped"' in client.get(path).text, path
    assert (tmp_path / "server" / "stops" / f"{TENANT}.json").exists()


@pytest.mark.parametrize("role", ["approver", "support", "tenant_admin", "auditor"])
def test_nobody_else_pulls_it_and_nobody_is_shown_the_button(browser: Browser, role: str) -> None:
    client = browser(role, language="en")
    assert "Stop all signing now" not in client.get("/signing").text
    assert client.post("/signing/stop", data={"reason": "because", "csrf": csrf_of(client)}).status_code == 403


def test_a_stop_from_another_page_is_refused(browser: Browser) -> None:
    assert browser("operator").post("/signing/stop", data={"reason": "because"}).status_code == 403


def test_permits_say_who_signed_what_and_what_is_left_and_are_withdrawn_by_approvers(
    browser: Browser, console_engine: Engine
) -> None:
    permit = add_permit(console_engine)
    html = browser("support", language="en").get("/signing").text
    for words in ("app.restart, printer.print_test", "2 devices", "night shift", "0 used, 20 left", "mei"):
        assert words in html, words
    assert f"/signing/permits/{permit}/withdraw" not in html
    approver = browser("approver", language="en")
    assert f"/signing/permits/{permit}/withdraw" in approver.get("/signing").text
    answer = approver.post(f"/signing/permits/{permit}/withdraw", data={"csrf": csrf_of(approver)})
    assert answer.status_code == 303
    after = approver.get("/signing").text
    assert "withdrawn" in after
    assert f"/signing/permits/{permit}/withdraw" not in after


def test_asking_for_a_permit_writes_a_command_for_somebody_else_and_quotes_what_was_typed(browser: Browser) -> None:
    client = browser("support", language="en")
    query = {"actions": "app.restart", "devices": "T0000001, $(reboot)", "hours": "6", "count": "5"}
    html = client.get("/signing", params=query).text
    command = re.search(r"<code>(fleet-server permit.*?)</code>", html)
    assert command is not None
    for words in ("--asked-by support", "--action app.restart", "--device T0000001", "--hours 6 --count 5"):
        assert words in command[1], words
    assert "--device &#39;$(reboot)&#39;" in command[1]
    assert "fleet-server permit --key" not in client.get("/signing").text


def test_broken_glass_is_said_on_every_page_while_it_is_live(
    browser: Browser, console_app: FastAPI, console_engine: Engine
) -> None:
    console_app.state.broken_glass = BreakGlassWatch(console_app.state.engine, look_every_s=0)
    client = browser("viewer", language="en")
    assert 'id="glass"' not in client.get("/").text
    permit = add_permit(console_engine, 7, people=BREAK_GLASS, reason="the whole chain is down")
    for path in ("/", "/runs", f"/devices/{TILL}", "/account", "/search?q=6021"):
        html = client.get(path).text
        assert 'id="glass"' in html, path
        assert "the whole chain is down" in html, path
    assert "break-glass key" in browser("support", language="en").get("/signing").text
    with transaction(console_engine) as session:
        row = session.get(ShiftPermit, permit)
        assert row is not None
        row.not_after = utc_now() - timedelta(seconds=1)
    assert 'id="glass"' not in client.get("/").text


def test_an_operator_is_warned_before_what_everybody_is_let_in_by_ends(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_installation(settings(tmp_path))
    client = browser("operator", language="en")
    html = client.get("/signing").text
    assert "Certificate of the issuing authority" in html
    assert "ends soon" not in html
    # Issued for a year: two months before its end.
    later = utc_now() + timedelta(days=310)
    monkeypatch.setattr("fleet_server.console.pages.signing.utc_now", lambda: later)
    warned = client.get("/signing").text
    rows = re.findall(r'<th scope="row">(Certificate[^<]*)</th>(.*?)</tr>', warned)
    assert {what for what, row in rows if "ends soon" in row} == {"Certificate of the issuing authority"}


def test_the_console_has_nothing_to_sign_with() -> None:
    """Neither its pages nor what they are made of load anything that signs, or opens a person's key."""
    forbidden = {"fleet_server.approvals.keys", "fleet_server.approvals.permit_making", "fleet_server.signer.keys"}
    sources = sorted((ROOT / "fleet_server" / "console").rglob("*.py"))
    assert len(sources) > 40
    for path in sources:
        assert not forbidden & set(imported_modules(path)), path
        assert "SigningKey" not in path.read_text("utf-8"), path


def test_an_operator_is_told_on_every_page_what_ends_soon_and_nobody_else_is(
    browser: Browser, console_app: FastAPI, tmp_path: Path
) -> None:
    made = settings(tmp_path)
    prepare_installation(made)
    console_app.state.ends = EndsWatch(made, look_every_s=0)
    operator, support = browser("operator", language="en"), browser("support", language="en")
    assert 'id="endings"' not in operator.get("/").text
    places = places_of(made)
    root = Root.from_pem(places.root_certificate.read_bytes(), places.root_key.read_bytes())
    for age_days, word in ((310, "ends"), (400, "ended")):
        lapsing = root.renewed(utc_now() - timedelta(days=500)).make_issuing(utc_now() - timedelta(days=age_days))
        places.chain.write_bytes(lapsing.chain_pem)
        for path in ("/", "/runs", f"/devices/{TILL}", "/signing"):
            html = operator.get(path).text
            assert re.search(rf'id="endings".*Certificate of the issuing authority: {word} ', html), path
        assert 'id="endings"' not in support.get("/").text
    assert "签发机构的证书：已于" in browser("operator", language="zh").get("/").text
