"""A broken terminal mended by a playbook in a running demo: real agents, broker, scheduler and server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.demo_client import Demo, run_command

pytestmark = pytest.mark.acceptance


def walked(demo: Demo, key: str, playbook: str, **variables: Any) -> dict[str, Any]:
    body = {"device": demo.device(key), "playbook": playbook, "variables": variables}
    started = demo.call("POST", "/api/v1/playbook-runs", body)
    assert started.status == 201, started.body
    path = f"/api/v1/playbook-runs/{started.body['id']}"
    demo.until(lambda: demo.get(path), "the end of the walk", within_s=400, is_so=lambda one: one["state"] == "over")
    found: dict[str, Any] = demo.get(path)
    return found


def test_a_stopped_application_is_found_restarted_and_proved(demo: Demo) -> None:
    demo.break_("esign1", "app_dead")
    demo.until_open("esign1", "agent.APP_DEAD")
    offered = demo.get(f"/api/v1/devices/{demo.device('esign1')}/playbooks")["items"]
    assert (offered[0]["playbook"]["name"], offered[0]["suggested_by"]) == ("app_not_running", ["agent.APP_DEAD"])
    walk = walked(demo, "esign1", "app_not_running")
    assert walk["end"]["as"] == "fixed", walk
    assert [(one["name"], one["result"], one["verdict"]) for one in walk["steps"]] == [
        ("alive", "ran", "fail"),
        ("restart", "fixed", None),
    ]
    demo.until_no_fault("esign1")


def test_a_dead_sim_is_told_with_the_part_and_nothing_is_tried(demo: Demo) -> None:
    demo.break_("smart1", "sim_dead")
    walk = walked(demo, "smart1", "no_network")
    assert (walk["end"]["as"], walk["end"]["parts"]) == ("technician", ["SIM card"]), walk
    assert {one["action"] for one in walk["steps"]} == {"net.link", "modem.sim"}
    demo.mend("smart1")


def test_a_healthy_terminal_is_only_looked_at_from_the_shell(demo: Demo) -> None:
    demo.until_no_fault("esign1")
    said = run_command(
        "fleet_server", "playbooks", "run", "esign1", "clock_wrong", "--lang", "en", "--data", str(demo.data)
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert "nothing wrong. The clock is right." in said.stdout
