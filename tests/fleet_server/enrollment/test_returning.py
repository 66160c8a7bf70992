"""Devices that slept past their certificate's grace: a person has to let them in again, each time anew."""

from __future__ import annotations

from datetime import timedelta

from fleet_server.issuer.service import GRACE
from tests.fleet_server.enrollment.test_admission import Door, asked_long_ago, at, refused
from tests.support.signing_requests import new_key, renewal_proof, request_of

__all__ = ["at"]


def test_one_that_slept_too_long_comes_back_with_a_persons_word(at: Door) -> None:
    device = at.device()
    link = device.enrol(at.code()).json()["enrolment"]["link"]
    at.now[0] += timedelta(days=91) + GRACE
    fresh = new_key()
    csr = request_of(fresh)
    proof = renewal_proof(device.key, link, csr)
    for _ in range(2):
        assert device.renew(link, fresh, csr=csr, proof=proof).status_code == 202
    refused(at.device().renew(link, new_key()), "proof_invalid")
    (waiting,) = at.api.get("/api/v1/enrolments", "operator", state="pending").json()["items"]
    assert (waiting["kind"], waiting["device"]) == ("return", link)
    assert at.api.post(f"/api/v1/enrolments/{waiting['id']}/approve", {}, "operator").status_code == 200
    assert device.renew(link, fresh, csr=csr, proof=proof).status_code == 200
    # The word was for this once.
    at.now[0] += timedelta(days=91) + GRACE
    device.key = fresh
    assert device.renew(link, new_key()).status_code == 202


def test_one_that_slept_too_long_and_was_turned_away_may_ask_again_when_that_is_forgotten(at: Door) -> None:
    device = at.device()
    link = device.enrol(at.code()).json()["enrolment"]["link"]
    at.now[0] += timedelta(days=91) + GRACE
    assert device.renew(link, new_key()).status_code == 202
    (waiting,) = at.api.get("/api/v1/enrolments", "operator", state="pending").json()["items"]
    assert at.api.post(f"/api/v1/enrolments/{waiting['id']}/refuse", None, "operator").status_code == 200
    refused(device.renew(link, new_key()), "enrolment_refused")
    asked_long_ago(at)
    assert device.renew(link, new_key()).status_code == 202
