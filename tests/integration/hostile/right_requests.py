"""A request of each operation, and each form, that is right as a whole, so that one place in it can be tried."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import httpx2

from fleet_server.kit.times import utc_now
from tests.integration.hostile.installation import OTHER_SITE, SPARE, Installation

SITE = {
    "merchant_id": "M-1",
    "merchant_name_zh": "店",
    "merchant_name_en": "Shop",
    "name_zh": "店",
    "name_en": "Shop",
    "timezone": "Asia/Shanghai",
}
_NOBODY = "00000000-0000-4000-8000-000000000000"
# The path, empty where it has no ids in it, and a body.
Request = tuple[str, Any]
Makers = Mapping[str, Callable[[], Request]]


class RightRequests:
    def __init__(self, site: Installation, ask: httpx2.Client) -> None:
        self._ask = ask
        self._numbers = itertools.count(1)
        self._link, self._site_id = site.link, site.site

    def of_api(self, operation: str) -> Request:
        return {**self._about_places(), **self._about_runs(), **self._about_signing()}[operation]()

    def of_form(self, path: str) -> Request:
        made = {**self._forms_about_places(), **self._forms_about_people()}
        return made[path]() if path in made else ("", {})

    def code(self) -> dict[str, Any]:
        return {"serial_number": f"ES9{next(self._numbers):05}", "model": "A920", "terminal_class": "e_sign"}

    def _waiting(self, path: str, body: Any) -> Request:
        """``path``: with {} for an execution that waits for approvers."""
        asked = {"device": self._link, "action": "app.restart", "override_reason": "a test of texts"}
        answer = self._ask.post("/api/v1/executions", json=asked)
        assert answer.status_code == 201, answer.text
        return path.format(answer.json()["id"]), body

    def _arranged(self, path: str, body: Mapping[str, Any]) -> Request:
        answer = self._ask.post("/api/v1/inspections", json=self._inspection())
        assert answer.status_code == 201, answer.text
        return path.format(answer.json()["id"]), {**body, "version": answer.json()["version"]}

    def _enrolling(self, path: str) -> Request:
        """``path``: with {} for a code that is open."""
        asked = self.code()
        answer = self._ask.post("/api/v1/enrolments", json=asked)
        assert answer.status_code == 201, answer.text
        known = self._ask.get("/api/v1/enrolments").json()["items"]
        return path.format(next(one["id"] for one in known if one["serial_number"] == asked["serial_number"])), {}

    def _inspection(self) -> dict[str, Any]:
        return {"name": f"Round {next(self._numbers)}", "checks": ["agent.echo"], "days": [1], "at": "02:00"}

    def _about_places(self) -> Makers:
        link, soon = self._link, _in_hours(2)
        enrol = {"secret": "0" * 16, "serial_number": "S", "model": "M", "csr": "x", "proof": "0" * 16}
        return {
            "POST /api/v1/sites": lambda: ("", dict(SITE)),
            "PATCH /api/v1/sites/{site_id}": lambda: (f"/api/v1/sites/{self._site_id}", {}),
            "POST /api/v1/sites/import": lambda: ("", {"csv": ""}),
            "POST /api/v1/assignments": lambda: ("", {"assignee": "technician", "device": link, "to": soon}),
            "POST /api/v1/enrolments": lambda: ("", self.code()),
            "POST /api/v1/enrolments/pallet": lambda: ("", {"csv": ""}),
            "POST /api/v1/enrolments/{enrolment_id}/approve": lambda: self._enrolling("/api/v1/enrolments/{}/approve"),
            "POST /api/v1/devices/{device_id}/retirement": lambda: (
                f"/api/v1/devices/{SPARE[0]}/retirement",
                {"reason": "swapped"},
            ),
            "PUT /api/v1/devices/{device_id}/site": lambda: (f"/api/v1/devices/{link}/site", {}),
            "POST /api/v1/visits": lambda: ("", {}),
            "POST /enrol/v1/requests": lambda: ("", dict(enrol)),
            "POST /enrol/v1/renewals": lambda: ("", {"link": link, "csr": "x", "proof": "0" * 16}),
        }

    def _about_runs(self) -> Makers:
        link = self._link
        asked = {"device": link, "action": "net.path", "params": {"words": "plain"}}
        freeze = {"from": _in_hours(2), "to": _in_hours(3), "reason": "a feast"}
        waiting, arranged = self._waiting, self._arranged
        consent = "/api/v1/executions/{}/consent"
        return {
            "POST /api/v1/executions": lambda: ("", dict(asked)),
            "POST /api/v1/executions/{execution_id}/consent": lambda: waiting(consent, {"code": "000000"}),
            "POST /api/v1/freezes": lambda: ("", dict(freeze)),
            "POST /api/v1/inspections": lambda: ("", self._inspection()),
            "POST /api/v1/inspections/preview": lambda: ("", self._inspection()),
            "PUT /api/v1/inspections/{inspection_id}": lambda: arranged("/api/v1/inspections/{}", self._inspection()),
            "POST /api/v1/playbook-runs": lambda: ("", {"device": link, "playbook": "slow", "variables": {}}),
        }

    def _about_signing(self) -> Makers:
        waiting = self._waiting
        key = {"key_id": "0" * 32, "signature_base64": "AA=="}
        of_run = "/api/v1/approvals/{}/"
        return {
            "POST /api/v1/approvals/{execution_id}/refuse": lambda: waiting(f"{of_run}refuse", {"reason": "not now"}),
            "POST /api/v1/approvals/{execution_id}/signatures": lambda: waiting(f"{of_run}signatures", dict(key)),
            "POST /api/v1/approvals/{execution_id}/break-glass": lambda: waiting(f"{of_run}break-glass", {}),
            "POST /api/v1/permits": lambda: ("", {"envelope": "{}", "devices": []}),
            "POST /api/v1/signing/lift": lambda: ("", {}),
            "POST /api/v1/signing/stop": lambda: ("", {"reason": "a test"}),
            "POST /api/v1/audit/anchors": lambda: ("", {}),
        }

    def _forms_about_places(self) -> Makers:
        link, day = self._link, (utc_now() + timedelta(days=1)).date().isoformat()
        span = {"first": day, "last": day}
        arranged = {"name": "Round", "checks": ["agent.echo"], "days": ["1"], "at": "02:00", "window_min": "120"}
        return {
            "/sites/{site_id}": lambda: (f"/sites/{OTHER_SITE}", {}),
            "/devices/{device_id}/playbooks/{playbook}": lambda: (f"/devices/{link}/playbooks/no_network", {}),
            "/devices/{device_id}/runs": lambda: (f"/devices/{link}/runs", {"action": "app.restart"}),
            "/devices/{device_id}/retirement": lambda: (f"/devices/{SPARE[1]}/retirement", {"reason": "swapped"}),
            "/assignments": lambda: ("", {"technician": "technician", "device": link, **span}),
            "/freezes": lambda: ("", {**span, "reason": "a feast"}),
            "/enrolment/codes": lambda: ("", self.code()),
            "/enrolment/{enrolment_id}/approve": lambda: self._enrolling("/enrolment/{}/approve"),
            "/inspections": lambda: ("", dict(arranged)),
            "/inspections/preview": lambda: ("", dict(arranged)),
            "/inspections/{inspection_id}/change": lambda: self._arranged("/inspections/{}/change", arranged),
            "/demo/break": lambda: ("", {"device": "esign1", "fault": "paper_out"}),
            "/demo/mend": lambda: ("", {"device": "esign1", "fault": "paper_out"}),
        }

    def _forms_about_people(self) -> Makers:
        looked_for = {"how": "person", "q": "nobody"}
        waiting = self._waiting
        return {
            "/people": lambda: ("", {"name": f"person.{next(self._numbers)}", "role": "viewer"}),
            "/people/{person_id}/{deed}": lambda: (f"/people/{_NOBODY}/end-sessions", {}),
            "/personal-data/find": lambda: ("", dict(looked_for)),
            "/personal-data/export": lambda: ("", {**looked_for, "which": "person"}),
            "/personal-data/erase": lambda: ("", {**looked_for, "which": "person"}),
            "/runs/{run_id}/cancel": lambda: waiting("/runs/{}/cancel", {}),
            "/runs/{run_id}/consent": lambda: waiting("/runs/{}/consent", {"code": "000000"}),
            "/signing/stop": lambda: ("", {"reason": "a test"}),
        }


def _in_hours(hours: int) -> str:
    return (utc_now() + timedelta(hours=hours)).isoformat()
