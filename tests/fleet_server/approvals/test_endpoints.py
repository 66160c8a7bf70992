from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine
from sqlmodel import col, select, update

from fleet_server.approvals.models import Approval, ApprovalSignature
from fleet_server.approvals.permit_making import signed_break_glass
from fleet_server.audit.models import AuditAside, AuditEntry
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device
from fleet_server.executions.models import Execution
from fleet_server.kit.times import to_ms, utc_now
from protocol import codec, merkle
from protocol.authorisations import Allowed, Authorisation, AuthorisationKind, Denied, Grant, judge
from protocol.commands import AUTHORISATION_TYPE, DangerClass
from protocol.executions import ExecutionState
from protocol.signing import SigningKey, pae, sign
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.executions.conftest import COMMAND_KEY
from tests.fleet_server.factories import TENANT
from tests.support.signing import signer_with

MEI, MEI_TOO, WU, STRANGER, LIN = (SigningKey.from_seed(seed * 32) for seed in (b"m", b"M", b"w", b"x", b"l"))
GLASS = SigningKey.from_seed(b"g" * 32)
APPROVERS = [("mei", MEI), ("mei", MEI_TOO), ("wu", WU), ("support", LIN)]


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    signer = signer_with(COMMAND_KEY, APPROVERS, break_glass=[GLASS])
    with running_api(engine, tmp_path, signer) as running:
        yield running


def asked(api: Api, action: str = "app.restart", **more: Any) -> str:
    answer = api.post("/api/v1/executions", {"device": api.fleet.terminal, "action": action, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def signature(document_base64: str, key: SigningKey) -> dict[str, str]:
    signed = key.private.sign(pae(AUTHORISATION_TYPE, base64.b64decode(document_base64)))
    return {"key_id": key.id, "signature_base64": base64.b64encode(signed).decode()}


def approve(api: Api, execution: str, key: SigningKey, of: str = "", caller: str = "approver") -> Any:
    document = api.get(f"/api/v1/approvals/{of or execution}", caller).json()["document_base64"]
    return api.post(f"/api/v1/approvals/{execution}/signatures", signature(document, key), caller)


def state(api: Api, execution: str) -> str:
    return str(api.get(f"/api/v1/executions/{execution}").json()["state"])


def test_a_change_waits_for_an_approver_and_goes_out_with_the_signature(api: Api) -> None:
    execution = asked(api)
    assert (state(api, execution), api.broker.commands()) == ("AWAITING_APPROVAL", [])
    listed = api.get("/api/v1/approvals", "approver").json()["items"]
    assert [(one["execution"], one["requester"], one["approved_by"]) for one in listed] == [(execution, "support", [])]
    assert listed[0]["document"]["grants"] == [{"action": "app.restart", "params": {}}]
    assert base64.b64decode(listed[0]["document_base64"]).startswith(b'{"id":')
    done = approve(api, execution, MEI)
    assert (done.status_code, done.json()["state"]) == (200, "PUBLISHED")
    [(_, command)] = api.broker.commands()
    assert (command.execution, command.requester) == (execution, "support")
    assert command.authorisation is not None
    assert api.get("/api/v1/approvals", "approver").json()["items"] == []
    with reading(api.engine) as session:
        entry = session.exec(select(AuditEntry).where(AuditEntry.action == "execution_approved")).one()
        beside = session.get_one(AuditAside, (TENANT, entry.seq)).document
    assert beside["approver"] == "mei"
    assert "mei" not in str(entry.data)


def test_a_check_waits_for_nobody(api: Api) -> None:
    assert state(api, asked(api, "agent.echo")) == "PUBLISHED"


def test_a_signature_of_anybody_else_or_over_anything_else_is_refused(api: Api) -> None:
    execution, other = asked(api), asked(api, "printer.print_test")
    for key, of, code in (
        (STRANGER, execution, "signature_refused"),
        (COMMAND_KEY, execution, "signature_refused"),
        (MEI, other, "signature_refused"),
        (LIN, execution, "approver_is_requester"),
    ):
        answer = approve(api, execution, key, of)
        assert (answer.status_code in {409, 422}, answer.json()["code"]) == (True, code)
    assert (state(api, execution), api.broker.commands()) == ("AWAITING_APPROVAL", [])


@pytest.mark.parametrize("caller", ["support", "viewer", "technician", "operator"])
def test_only_an_approver_brings_a_signature(api: Api, caller: str) -> None:
    execution = asked(api)
    document = api.get(f"/api/v1/approvals/{execution}", "approver").json()["document_base64"]
    answer = api.post(f"/api/v1/approvals/{execution}/signatures", signature(document, MEI), caller)
    assert answer.status_code == 403
    assert state(api, execution) == "AWAITING_APPROVAL"


def test_another_tenant_neither_sees_nor_decides(api: Api) -> None:
    execution = asked(api)
    assert api.get("/api/v1/approvals", "stranger").json()["items"] == []
    assert api.get(f"/api/v1/approvals/{execution}", "stranger").status_code == 404


def set_needed(api: Api, execution: str) -> None:
    with transaction(api.engine) as session:
        session.execute(update(Approval).where(col(Approval.execution_id) == execution).values(needed=2))


def test_one_person_counts_once_whatever_the_keys(api: Api) -> None:
    execution = asked(api)
    set_needed(api, execution)
    assert approve(api, execution, MEI).json()["state"] == "AWAITING_APPROVAL"
    for key in (MEI, MEI_TOO):
        assert approve(api, execution, key).json()["code"] == "already_approved"
    assert approve(api, execution, WU).json()["state"] == "PUBLISHED"


def test_forged_rows_in_the_database_send_nothing(api: Api) -> None:
    """Whoever writes to the database can call an execution approved; the signer does not believe it."""
    execution = asked(api)
    with transaction(api.engine) as session:
        session.add(
            ApprovalSignature(
                execution_id=execution, person="mei", tenant_id=TENANT, key_id=MEI.id,
                signature=base64.b64encode(bytes(64)).decode(), signed_at=utc_now(),
            )
        )  # fmt: skip
        values = {"state": "QUEUED", "deadline_at": utc_now() - timedelta(seconds=1)}
        session.execute(update(Execution).where(col(Execution.id) == execution).values(values))
    assert sent_by_sweep(api) == 0
    shown = api.get(f"/api/v1/executions/{execution}").json()
    assert (shown["state"], shown["code"]) == ("QUEUED", "authorisation_refused")


def test_parameters_changed_in_the_database_after_the_approval_send_nothing(api: Api) -> None:
    set_presence(api, "offline")
    execution = asked(api)
    assert approve(api, execution, MEI).json()["state"] == "QUEUED"
    set_presence(api, "online")
    with transaction(api.engine) as session:
        values = {"params": {"force": True}, "deadline_at": utc_now() - timedelta(seconds=1)}
        session.execute(update(Execution).where(col(Execution.id) == execution).values(values))
    assert sent_by_sweep(api) == 0


def set_presence(api: Api, presence: str) -> None:
    with transaction(api.engine) as session:
        session.execute(update(Device).values(presence=presence))


def sent_by_sweep(api: Api) -> int:
    with transaction(api.engine) as session:
        return len(api.app.state.dispatcher.take_overdue(session, TENANT, utc_now()).outgoing)


def test_an_approver_refuses_and_a_requester_takes_back(api: Api) -> None:
    refused, cancelled = asked(api), asked(api)
    answer = api.post(f"/api/v1/approvals/{refused}/refuse", {"reason": "not today"}, "approver")
    assert (answer.json()["state"], answer.json()["code"]) == ("CANCELLED", "approval_refused")
    assert api.post(f"/api/v1/executions/{cancelled}/cancel").json()["state"] == "CANCELLED"
    assert api.get("/api/v1/approvals", "approver").json()["items"] == []
    for execution in (refused, cancelled):
        assert api.get(f"/api/v1/approvals/{execution}", "approver").status_code == 404


def permit(api: Api, *keys: SigningKey, **changes: Any) -> Any:
    now = utc_now()
    values: dict[str, Any] = {
        "id": "0198d0a0-0000-7000-8000-0000000000aa",
        "tenant": TENANT,
        "kind": AuthorisationKind.SHIFT_PERMIT,
        "requester": "desk",
        "grants": [Grant("app.restart")],
        "danger_class": DangerClass.CHANGES,
        "not_before_ms": to_ms(now - timedelta(minutes=5)),
        "not_after_ms": to_ms(now + timedelta(hours=8)),
        "max_count": 2,
        "max_per_device": 5,
        "targets": [api.fleet.terminal],
    }
    document = Authorisation(**{**values, **changes})
    envelope = codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), keys or (MEI,))).decode()
    return api.post("/api/v1/permits", {"envelope": envelope}, "approver")


def test_a_shift_permit_lets_its_fixes_out_at_once_as_often_as_it_says(api: Api) -> None:
    assert permit(api).status_code == 201
    assert [state(api, asked(api)) for _ in range(3)] == ["PUBLISHED", "PUBLISHED", "AWAITING_APPROVAL"]
    assert state(api, asked(api, "printer.print_test")) == "AWAITING_APPROVAL"
    [listed] = api.get("/api/v1/permits", "approver").json()["items"]
    assert (listed["used"], listed["max_count"], listed["people"]) == (2, 2, "mei")


def test_a_permit_does_not_serve_its_signer_nor_other_devices(api: Api) -> None:
    permit(api, MEI, LIN)
    assert state(api, asked(api)) == "AWAITING_APPROVAL"


def test_a_permit_that_was_withdrawn_or_is_over_lets_nothing_out(api: Api) -> None:
    assert permit(api, not_after_ms=to_ms(utc_now()) - 1).json()["code"] == "permit_refused"
    assert permit(api).status_code == 201
    api.post("/api/v1/permits/0198d0a0-0000-7000-8000-0000000000aa/withdraw", {}, "approver")
    assert state(api, asked(api)) == "AWAITING_APPROVAL"


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": AuthorisationKind.APPROVAL},
        {"danger_class": DangerClass.SOFTWARE},
        {"tenant": "other"},
        {"targets": []},
        {"not_before_ms": 1},
        {"requester": "Mei"},
    ],
)
def test_what_terminals_would_not_obey_is_no_permit(api: Api, changes: dict[str, Any]) -> None:
    answer = permit(api, **changes)
    assert (answer.status_code, answer.json()["code"]) == (422, "permit_refused")


def test_a_permit_of_a_stranger_is_refused(api: Api) -> None:
    assert permit(api, STRANGER).json()["code"] == "permit_refused"
    assert permit(api).status_code == 201
    assert permit(api).json()["code"] == "permit_refused"


def broken(api: Api, execution: str, key: SigningKey, of: str = "") -> Any:
    asked_for = api.get(f"/api/v1/approvals/{of or execution}", "approver").json()["document_base64"]
    document = codec.from_json(base64.b64decode(asked_for), Authorisation)
    assert isinstance(document, Authorisation)
    envelope = signed_break_glass(document, "the whole chain is down", key)
    return api.post(f"/api/v1/approvals/{execution}/break-glass", {"envelope": envelope})


@pytest.mark.parametrize(
    "changes", [{"targets": ["d-another-device"]}, {"tenant": "other"}, {"kind": AuthorisationKind.SHIFT_PERMIT}]
)
def test_break_glass_for_anything_but_what_waits_is_refused(api: Api, changes: dict[str, Any]) -> None:
    execution = asked(api)
    asked_for = api.get(f"/api/v1/approvals/{execution}", "approver").json()["document_base64"]
    document = codec.from_json(base64.b64decode(asked_for), Authorisation)
    assert isinstance(document, Authorisation)
    glass = {"kind": AuthorisationKind.BREAK_GLASS, "id": "0198d0a0-0000-7000-8000-0000000000ac", **changes}
    envelope = codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(replace(document, **glass)), [GLASS])).decode()
    answer = api.post(f"/api/v1/approvals/{execution}/break-glass", {"envelope": envelope})
    assert (answer.status_code, answer.json()["code"]) == (422, "permit_refused")
    assert state(api, execution) == "AWAITING_APPROVAL"


def test_break_glass_lets_one_execution_out_and_is_loud(api: Api) -> None:
    execution, other = asked(api), asked(api)
    for key in (MEI, STRANGER, COMMAND_KEY):
        assert broken(api, execution, key).json()["code"] == "permit_refused"
    assert broken(api, execution, GLASS, of=other).json()["code"] == "permit_refused"
    done = broken(api, execution, GLASS)
    assert (done.status_code, done.json()["state"]) == (200, "PUBLISHED")
    assert state(api, other) == "AWAITING_APPROVAL"
    assert state(api, asked(api)) == "AWAITING_APPROVAL"
    path = f"/api/v1/devices/{api.fleet.terminal}/timeline"
    [event] = api.get(path, types="security").json()["items"]
    assert event["data"]["code"] == "break_glass"
    with reading(api.engine) as session:
        entry = session.exec(select(AuditEntry).where(AuditEntry.action == "break_glass_used")).one()
        beside = session.get_one(AuditAside, (TENANT, entry.seq)).document
    assert beside["reason"] == "the whole chain is down"


def test_digits_go_to_a_terminal_that_waits_for_them_and_into_no_record(api: Api) -> None:
    execution = asked(api, "agent.echo")
    path = f"/api/v1/executions/{execution}/consent"
    assert api.post(path, {"code": "123456"}).json()["code"] == "no_consent_awaited"
    assert api.post(path, {"code": "12345x"}).status_code == 422
    with transaction(api.engine) as session:
        waiting = ExecutionState.AWAITING_CONSENT.value
        session.execute(update(Execution).where(col(Execution.id) == execution).values(state=waiting))
    assert api.post(path, {"code": "123456"}).status_code == 200
    assert api.post(path, {"code": "123456"}, "viewer").status_code == 403
    _, command = api.broker.commands()[-1]
    assert (command.action, command.params) == ("execution.consent", {"execution": execution, "code": "123456"})
    with reading(api.engine) as session:
        kept = [entry.data for entry in session.exec(select(AuditEntry))]
    assert "123456" not in str(kept)


def of_a_group(api: Api, devices: list[str], given: list[str] | None = None, **changes: Any) -> Any:
    """A permit for the root of a list, brought with ``given``."""
    listed = [one.encode() for one in devices]
    root = {"targets": [], "target_root": merkle.root(listed).hex(), "target_count": len(listed), **changes}
    now = utc_now()
    document = Authorisation(
        id="0198d0a0-0000-7000-8000-0000000000ab",
        tenant=TENANT,
        kind=AuthorisationKind.SHIFT_PERMIT,
        requester="desk",
        grants=[Grant("app.restart")],
        danger_class=DangerClass.CHANGES,
        not_before_ms=to_ms(now - timedelta(minutes=5)),
        not_after_ms=to_ms(now + timedelta(hours=8)),
        max_count=1000,
        **root,
    )
    envelope = codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), [MEI])).decode()
    body = {"envelope": envelope, "devices": devices if given is None else given}
    return api.post("/api/v1/permits", body, "approver")


GROUP = [f"d-{number:016x}" for number in range(1000)]


def test_one_signature_covers_a_group_and_each_command_proves_its_own_device(api: Api) -> None:
    devices = [*GROUP, api.fleet.terminal]
    made = of_a_group(api, devices)
    assert (made.status_code, made.json()["targets"]) == (201, devices)
    assert state(api, asked(api)) == "PUBLISHED"
    [(_, command)] = api.broker.commands()
    assert command.target_proof is not None
    assert command.target_proof.index == 1000
    # The terminal's own rule, and nothing of the others in what it is told.
    policy = api.app.state.dispatcher.policy(utc_now())
    assert isinstance(judge(str(command.authorisation), command, policy, to_ms(utc_now())), Allowed)
    assert not any(one in codec.to_json(command).decode() for one in GROUP)
    outsider = replace(command, audience="d-somebody-else")
    assert isinstance(judge(str(command.authorisation), outsider, policy, to_ms(utc_now())), Denied)


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        (GROUP[:3], {"target_count": 4}),
        (GROUP[1:4], {}),
        (list(reversed(GROUP[:3])), {}),
        ([], {}),
        (GROUP[:4], {}),
        (GROUP[:3], {"targets": [GROUP[0]]}),
        (GROUP[:3], {"targets": GROUP[:3], "target_root": None, "target_count": 0}),
    ],
)
def test_a_list_that_the_permit_does_not_name_is_refused(api: Api, given: list[str], changes: dict[str, Any]) -> None:
    answer = of_a_group(api, GROUP[:3], given, **changes)
    assert (answer.status_code, answer.json()["code"]) == (422, "permit_refused")


def test_a_list_that_names_a_device_twice_is_refused_though_its_root_is_right(api: Api) -> None:
    answer = of_a_group(api, [GROUP[0], GROUP[1], GROUP[0]])
    assert (answer.status_code, answer.json()["code"]) == (422, "permit_refused")


def test_a_device_outside_the_group_waits_for_approvers(api: Api) -> None:
    assert of_a_group(api, GROUP[:3]).status_code == 201
    assert state(api, asked(api)) == "AWAITING_APPROVAL"
