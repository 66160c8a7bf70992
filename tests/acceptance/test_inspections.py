"""An inspection on a running demo: arranged from the shell, asked by the scheduler, answered by real agents."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.acceptance.demo_client import Demo, run_command

pytestmark = pytest.mark.acceptance


def next_minute(zone: str) -> tuple[str, str]:
    """Date and time of day there; late enough that it is not over before it was asked for."""
    at = (datetime.now(UTC) + timedelta(seconds=75)).astimezone(ZoneInfo(zone))
    return f"{at:%Y-%m-%d}", f"{at:%H:%M}"


def test_devices_are_asked_in_their_local_time_and_the_round_says_what_came_of_it(demo: Demo) -> None:
    demo.break_("prn1", "paper_out")
    zone = demo.about("prn1")["site"]["timezone"]
    date, at = next_minute(zone)
    body = {
        "name": "acceptance",
        "checks": ["printer.status", "zvt.status"],
        "at": at,
        "window_min": 1,
        "devices": {"ids": [demo.device("prn1"), demo.device("zvt1")]},
    }
    issued = run_command("fleet_server", "token", "night", "--role", "approver", "--json", "--data", str(demo.data))
    may = {"Authorization": f"Bearer {json.loads(issued.stdout)['token']}"}
    made = demo.call("POST", "/api/v1/inspections", body, **may)
    assert made.status == 201, made.body
    path = f"/api/v1/inspections/{made.body['id']}"

    def turns() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = demo.get(f"{path}/rounds/{date}")["items"]
        return items

    ended = {"done", "missed"}
    demo.until(
        turns, "both turns", within_s=240, is_so=lambda of: len(of) == 2 and {one["state"] for one in of} <= ended
    )
    found = turns()
    by_device = {one["device"]: one for one in found}
    printer, terminal = by_device[demo.device("prn1")], by_device[demo.device("zvt1")]
    assert (printer["outcome"], terminal["outcome"]) == ("fail", "pass"), found
    opens_at, closes_at = demo.get(f"{path}/rounds")["items"][0]["opens_at"], terminal["closes_at"]
    for one in found:
        assert opens_at <= one["asked_at"] <= closes_at
        (result,) = one["results"]
        run = demo.get(f"/api/v1/executions/{result['execution']}")
        assert (run["kind"], run["verdict"]) == ("check", one["outcome"])
    on_device = demo.get(f"/api/v1/devices/{demo.device('prn1')}/inspections")["items"]
    assert on_device[0]["inspection_name"] == "acceptance"
    assert demo.call("POST", f"{path}/end", {}, **may).body["state"] == "ended"
