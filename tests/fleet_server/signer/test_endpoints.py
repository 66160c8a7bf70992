from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select, update

from fleet_server.approvals.permit_making import signed_lift
from fleet_server.audit.models import AuditEntry
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device
from fleet_server.kit.times import utc_now
from fleet_server.tenants.models import Tenant
from protocol.signing import SigningKey
from protocol.stops import open_stop
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.executions.conftest import COMMAND_KEY
from tests.fleet_server.factories import TENANT
from tests.support.signing import policy_of, signer_with

MEI, STRANGER = SigningKey.from_seed(b"m" * 32), SigningKey.from_seed(b"x" * 32)
APPROVERS = [("mei", MEI)]


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path, signer_with(COMMAND_KEY, APPROVERS)) as running:
        yield running


def asked(api: Api, action: str) -> str:
    return str(api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": action}).json()["id"])


def stopped(api: Api, caller: str = "operator") -> int:
    return int(api.post("/api/v1/signing/stop", {"reason": "looks odd"}, caller).status_code)


def test_one_operator_stops_all_signing_and_all_that_waits_ends(api: Api) -> None:
    with transaction(api.engine) as session:
        session.execute(update(Device).values(presence="offline"))
    waiting = [asked(api, "agent.echo") for _ in range(70)] + [asked(api, "app.restart")]
    assert stopped(api) == 200
    with transaction(api.engine) as session:
        session.execute(update(Device).values(presence="online"))
    for execution in waiting:
        shown = api.get(f"/api/v1/executions/{execution}").json()
        assert (shown["state"], shown["code"]) == ("CANCELLED", "signing_stopped")
    assert api.get("/api/v1/approvals", "approver").json()["items"] == []
    refused = api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": "agent.echo"})
    assert (refused.status_code, refused.json()["code"]) == (409, "signing_stopped")
    assert api.broker.commands() == []
    standing = api.get("/api/v1/signing").json()
    assert (standing["stopped"], standing["by"], standing["reason"]) == (True, "operator", "looks odd")
    with reading(api.engine) as session:
        entry = session.exec(select(AuditEntry).where(AuditEntry.action == "signing_stop")).one()
    # What somebody typed lies beside the chain, where it can be erased.
    assert (entry.target, entry.data) == (TENANT, {})


def test_a_stop_is_of_all_tenants_and_each_ones_approvers_lift_their_own(api: Api, tmp_path: Path) -> None:
    with transaction(api.engine) as session:
        session.add(Tenant(id="other", name="Other", created_at=utc_now()))
    assert stopped(api) == 200
    policy = policy_of(COMMAND_KEY, APPROVERS)
    for tenant in (TENANT, "other"):
        order = open_stop((tmp_path / "server" / "stops" / f"{tenant}.json").read_bytes(), policy, tenant)
        assert (getattr(order, "epoch", None), getattr(order, "lifts", None)) == (1, False), tenant
    assert api.post("/api/v1/signing/lift", {"envelope": signed_lift(TENANT, 1, [MEI])}).json()["stopped"] is False
    standing = api.app.state.signer.standing(utc_now())
    assert {note.tenant: note.holds for note in standing.stops} == {TENANT: False, "other": True}
    with reading(api.engine) as session:
        entries = session.exec(select(AuditEntry.tenant_id).where(AuditEntry.action == "signing_stop")).all()
    assert sorted(entries) == [TENANT, "other"]


def test_the_signed_stop_lies_where_terminals_are_given_it_from(api: Api, tmp_path: Path) -> None:
    stopped(api)
    document = (tmp_path / "server" / "stops" / f"{TENANT}.json").read_bytes()
    order = open_stop(document, policy_of(COMMAND_KEY, APPROVERS), TENANT)
    assert (getattr(order, "lifts", None), getattr(order, "epoch", None)) == (False, 1)


@pytest.mark.parametrize("caller", ["support", "viewer", "technician", "approver"])
def test_only_the_operator_stops(api: Api, caller: str) -> None:
    assert stopped(api, caller) == 403
    assert api.get("/api/v1/signing").json()["stopped"] is False


def test_the_stop_is_lifted_by_an_approvers_key_and_by_nobody_elses(api: Api, tmp_path: Path) -> None:
    stopped(api)
    for key in (STRANGER, COMMAND_KEY):
        answer = api.post("/api/v1/signing/lift", {"envelope": signed_lift(TENANT, 1, [key])}, "operator")
        assert (answer.status_code, answer.json()["code"]) == (409, "resume_refused")
    lifted = api.post("/api/v1/signing/lift", {"envelope": signed_lift(TENANT, 1, [MEI])}, "operator")
    assert (lifted.status_code, lifted.json()["stopped"]) == (200, False)
    assert asked(api, "agent.echo")
    document = (tmp_path / "server" / "stops" / f"{TENANT}.json").read_bytes()
    assert getattr(open_stop(document, policy_of(COMMAND_KEY, APPROVERS), TENANT), "lifts", None) is True
