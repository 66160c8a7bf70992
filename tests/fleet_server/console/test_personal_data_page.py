"""The page by which an administrator gives people what is stored about them, or erases it."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import Engine, update
from sqlmodel import select

from fleet_server.auth.models import LoginSession, User
from fleet_server.db import reading, transaction
from fleet_server.kit.times import utc_now
from fleet_server.personal.erasing import Eraser
from fleet_server.personal.ledger import Ledger
from fleet_server.personal.models import Erasure
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.test_doors import csrf_of

LOOK = {"how": "person", "q": "viewer"}
CHOSEN = {**LOOK, "which": "person:u-viewer"}


def test_it_is_found_given_out_and_erased(browser: Browser, console_engine: Engine, tmp_path: Path) -> None:
    client = browser("tenant_admin", language="en")
    token = {"csrf": csrf_of(client)}
    html = client.post("/personal-data/find", data={**LOOK, **token}).text
    assert "person.name" in html
    assert "person:u-viewer" in html
    given = client.post("/personal-data/export", data={**CHOSEN, **token})
    assert given.headers["content-disposition"].endswith('"personal-data.json"')
    document = given.json()
    (account,) = (one for one in document["data"] if one["table"] == "person")
    assert account["values"]["name"] == "viewer"
    assert account["values"]["password_hash"] == "withheld: a secret of the account"
    assert document["fields"]["person.name"]["kept"] == "365 days (people_kept_days)"
    unsure = client.post("/personal-data/erase", data={**CHOSEN, **token})
    assert unsure.status_code == 303
    assert "under way" not in client.get("/personal-data").text
    assert client.post("/personal-data/erase", data={**CHOSEN, **token, "sure": "on"}).status_code == 303
    assert "under way" in client.get("/personal-data").text
    eraser = Eraser(console_engine, Ledger(tmp_path / "erasures.jsonl"), utc_now)
    while eraser.step() is not None:
        pass
    with reading(console_engine) as session:
        assert session.exec(select(User).where(User.name == "viewer")).all() == []
        assert session.exec(select(Erasure.words)).all() == [[]]
    assert "done" in client.get("/personal-data").text


def test_it_needs_the_right_and_a_fresh_proof(browser: Browser, console_app: FastAPI, console_engine: Engine) -> None:
    support = browser("support")
    assert support.get("/personal-data").status_code == 403
    admin = browser("tenant_admin")
    token = {"csrf": csrf_of(admin)}
    with transaction(console_engine) as session:
        session.execute(update(LoginSession).values(stepped_up_at=None))
    for path in ("find", "export", "erase"):
        answer = admin.post(f"/personal-data/{path}", data={**CHOSEN, **token, "sure": "on"})
        assert answer.headers["location"].startswith("/step-up"), path
    with reading(console_engine) as session:
        assert session.exec(select(Erasure)).all() == []
    assert console_app.state.settings.people_kept_days == 365


def test_nobody_is_not_found(browser: Browser) -> None:
    client = browser("tenant_admin", language="en")
    token = {"csrf": csrf_of(client)}
    assert "Nothing is stored." in client.post("/personal-data/find", data={**LOOK, "q": "nobody", **token}).text
    refused = client.post("/personal-data/export", data={**CHOSEN, "q": "nobody", **token})
    assert refused.status_code == 404
    assert client.post("/personal-data/find", data={"how": "phone", "q": "12", **token}).status_code == 422
