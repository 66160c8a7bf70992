"""What about people is forgotten by itself, each kind after its time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, update
from sqlmodel import col

from fleet_server.approvals.models import Approval
from fleet_server.auth.models import User
from fleet_server.db import transaction
from fleet_server.devices.models import Device, Site
from fleet_server.executions.models import Execution
from fleet_server.personal.erasing import Eraser
from fleet_server.personal.ledger import Ledger
from fleet_server.personal.retention import FORGOTTEN, forget_contacts, forget_notes, forget_people
from tests.fleet_server.factories import NOON, TENANT
from tests.fleet_server.personal.planted import CALLED, LATER, SITE, STAFF_ID, everything, plant

DAY = timedelta(days=1)


@pytest.fixture
def planted(engine: Engine) -> Engine:
    plant(engine)
    return engine


def contacts(engine: Engine) -> dict[str, str]:
    return {row["id"]: row["contact_name"] for row in everything(engine)["site"]}


def test_a_contact_goes_some_time_after_the_last_device_did(planted: Engine) -> None:
    before = NOON + 10 * DAY
    with transaction(planted) as session:
        assert forget_contacts(session, TENANT, before) == 0, "devices stand there, or never did"
        session.execute(update(Device).values(retired_at=before + DAY))
        assert forget_contacts(session, TENANT, before) == 0, "they went a short while ago"
        session.execute(update(Device).values(retired_at=NOON))
        session.execute(update(Site).where(col(Site.id) == SITE).values(contact_at=before + DAY))
        assert forget_contacts(session, TENANT, before) == 0, "somebody has said it anew since"
        session.execute(update(Site).where(col(Site.id) == SITE).values(contact_at=NOON))
        assert forget_contacts(session, "other", before) == 0
        assert forget_contacts(session, TENANT, before) == 1
        assert forget_contacts(session, TENANT, before) == 0
    assert contacts(planted) == {SITE: "", "s-two-0002": "王小明明"}
    (row,) = (row for row in everything(planted)["site"] if row["id"] == SITE)
    assert (row["phone"], row["address"], row["merchant_name_zh"]) == ("", "", f"{CALLED['name']}面馆")


def test_who_was_let_in_no_more_for_long_is_erased(planted: Engine, tmp_path: Path) -> None:
    with transaction(planted) as session:
        session.execute(update(User).where(col(User.id) == STAFF_ID).values(disabled_at=NOON))
        assert forget_people(session, TENANT, NOON, LATER) == 0
        assert forget_people(session, TENANT, NOON + DAY, LATER) == 1
        session.flush()
        assert forget_people(session, TENANT, NOON + DAY, LATER) == 0, "it is asked for once"
    eraser = Eraser(planted, Ledger(tmp_path / "erasures.jsonl"), lambda: LATER)
    while eraser.step() is not None:
        pass
    assert [row["name"] for row in everything(planted)["person"]] == ["li.weiss"]


def test_who_did_what_is_forgotten_when_it_is_long_over_and_that_it_was_done_is_not(planted: Engine) -> None:
    assert not forget_notes(planted, TENANT, NOON)
    assert everything(planted)["execution"][0]["actor"] == "li.wei"
    forget_notes(planted, TENANT, NOON + DAY)
    rows = everything(planted)
    (run,) = rows["execution"]
    assert (run["actor"], run["override_reason"], run["detail"], run["params"]) == (FORGOTTEN, None, "", {})
    assert (run["action"], run["state"]) == ("app.restart", "SUCCEEDED")
    assert rows["approval"] == rows["approval_signature"] == rows["shift_permit"] == rows["assignment"] == []
    assert (rows["enrolment"][0]["created_by"], rows["retirement"][0]["note"]) == (FORGOTTEN, "")
    assert rows["fault"][0]["evidence"], "it is not over"


def test_what_is_in_force_is_not_forgotten(planted: Engine) -> None:
    with transaction(planted) as session:
        session.execute(update(Approval).values(is_open=True))
        session.execute(update(Execution).values(finished_at=None))
    forget_notes(planted, TENANT, NOON + DAY)
    rows = everything(planted)
    assert len(rows["approval"]) == 1
    assert rows["execution"][0]["actor"] == "li.wei"
