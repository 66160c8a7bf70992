"""A playbook started on a device's page, and its walk as it appears step by step in the open page."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect
from sqlmodel import Session, col, select

from fleet_server.db import reading
from fleet_server.kit.times import utc_now
from fleet_server.playbooks import happenings
from fleet_server.playbooks.models import PlaybookRun, PlaybookStep
from tests.browser.conftest import Served, Windows
from tests.browser.test_live_pages import TILL, is_same, mark
from tests.fleet_server.console.examples import TENANT


def open_walk(session: Session) -> PlaybookRun:
    statement = select(PlaybookRun).where(col(PlaybookRun.device_id) == TILL, col(PlaybookRun.is_open).is_(True))
    return session.exec(statement).one()


def step(served: Served, number: int, name: str, heard: dict[str, Any]) -> None:
    def change(session: Session) -> None:
        now = utc_now()
        session.add(
            PlaybookStep(
                run_id=open_walk(session).id,
                number=number,
                tenant_id=TENANT,
                device_id=TILL,
                step=name,
                begun_at=now,
                ended_at=now,
                heard=heard,
            )
        )

    tell(served, "step", change)


def end(served: Served) -> None:
    def change(session: Session) -> None:
        row = open_walk(session)
        row.is_open, row.end_name, row.end_kind, row.ended_at = False, "fixed", "fixed", utc_now()

    tell(served, "ended", change)


def tell(served: Served, what: str, change: Any) -> None:
    with reading(served.engine) as session:
        event = happenings.moved(open_walk(session), what, utc_now())
    served.happen(event, change=change)


@pytest.mark.parametrize(
    ("language", "start", "found", "said"),
    [
        ("en", "Start The clock is wrong", "Compare with trusted time", "The clock is right again."),
        ("zh-CN", "开始 时间不对", "与可信时间比较", "时钟已校准"),
    ],
)
def test_a_walk_is_started_by_a_click_and_told_step_by_step_without_a_reload(
    windows: Windows, served: Served, language: str, start: str, found: str, said: str
) -> None:
    page = windows.open(f"/devices/{TILL}", language=language)
    page.locator("#playbooks a").last.click()
    page.get_by_role("button", name=start).click()
    walk = page.locator("#walk")
    expect(walk).to_be_visible()
    mark(page)
    step(served, 1, "clock", {"result": "ran", "verdict": "fail", "codes": ["term.CLOCK_INVALID"]})
    expect(walk).to_contain_text(found)
    step(served, 2, "sync", {"result": "fixed", "verdict": None, "codes": []})
    end(served)
    expect(walk).to_contain_text(said)
    assert is_same(page)
    assert windows.complaints == []
