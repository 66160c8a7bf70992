from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol import codec, merkle
from protocol.authorisations import (
    LONGEST,
    Allowed,
    Artifact,
    Authorisation,
    AuthorisationKind,
    Denied,
    Grant,
    judge,
)
from protocol.commands import AUTHORISATION_TYPE, Command, DangerClass, Refusal, TargetProof
from protocol.signing import Approver, Policy, SigningKey, sign

EXECUTION = "01890000-0000-7000-8000-000000000001"
ONLINE, SERVER, ANN, BEN, ANNS_NEXT, GLASS, STRANGER, ELSEWHERE = (
    SigningKey.from_seed(bytes([number]) * 32) for number in range(1, 9)
)
POLICY = Policy(
    version=1,
    issued_at_ms=0,
    command_keys=[ONLINE.public_hex],
    server_keys=[SERVER.public_hex],
    approvers=[
        Approver("ann", ANN.public_hex),
        Approver("ben", BEN.public_hex),
        Approver("Ann ", ANNS_NEXT.public_hex),
        Approver("eve", ELSEWHERE.public_hex, tenant="another"),
    ],
    break_glass_keys=[GLASS.public_hex],
)
NOW_MS = 1_795_900_000_000
HOUR_MS = 3_600_000
COMMAND = Command(
    version=1,
    audience="dev-0001",
    tenant="default",
    execution=EXECUTION,
    action="app.restart",
    danger_class=DangerClass.CHANGES,
    params={"level": 1},
    issued_at_ms=NOW_MS,
    not_after_ms=NOW_MS + HOUR_MS,
    counter=1,
    requester="sue",
)
APPROVAL = Authorisation(
    id="01890000-0000-7000-8000-0000000000aa",
    tenant="default",
    kind=AuthorisationKind.APPROVAL,
    requester="sue",
    grants=[Grant("app.restart", {"level": 1})],
    danger_class=DangerClass.CHANGES,
    not_before_ms=NOW_MS - HOUR_MS,
    not_after_ms=NOW_MS + HOUR_MS,
    max_count=1,
    targets=["dev-0001"],
    execution=EXECUTION,
)
PERMIT = msgspec.structs.replace(
    APPROVAL,
    kind=AuthorisationKind.SHIFT_PERMIT,
    requester="lead",
    grants=[Grant("app.restart"), Grant("clock.sync")],
    execution=None,
    max_count=20,
    max_per_device=2,
)
ARTIFACT = Artifact("apps/pay-2.4.1.pkg", 1000, "ab" * 32)
SOFTWARE: dict[str, Any] = {"danger_class": DangerClass.SOFTWARE}


def signed(document: Authorisation, *keys: SigningKey) -> str:
    return codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), keys)).decode()


def judged(
    document: Authorisation, *keys: SigningKey, command: Command = COMMAND, now_ms: int = NOW_MS, **changed: Any
) -> Allowed | Refusal:
    document = msgspec.structs.replace(document, **changed)
    found = judge(signed(document, *(keys or (ANN,))), command, POLICY, now_ms)
    return found.refusal if isinstance(found, Denied) else found


def asked(**changed: Any) -> Command:
    return msgspec.structs.replace(COMMAND, **changed)


def test_one_approver_allows_class_1_and_is_named() -> None:
    allowed = judged(APPROVAL)
    assert isinstance(allowed, Allowed)
    assert (allowed.people, allowed.authorisation) == (("ann",), APPROVAL)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"tenant": "another"}, Refusal.AUTHORISATION_SCOPE),
        ({"targets": ["dev-0002"]}, Refusal.AUTHORISATION_SCOPE),
        ({"targets": []}, Refusal.AUTHORISATION_SCOPE),
        ({"grants": [Grant("clock.sync")]}, Refusal.AUTHORISATION_SCOPE),
        ({"grants": [Grant("app.restart", {"level": 2})]}, Refusal.AUTHORISATION_SCOPE),
        ({"grants": [Grant("app.restart", {})]}, Refusal.AUTHORISATION_SCOPE),
        ({"danger_class": DangerClass.READS}, Refusal.AUTHORISATION_SCOPE),
        ({"execution": None}, Refusal.AUTHORISATION_SCOPE),
        ({"execution": "01890000-0000-7000-8000-000000000002"}, Refusal.AUTHORISATION_SCOPE),
        ({"not_after_ms": NOW_MS - 1}, Refusal.AUTHORISATION_TIME),
        ({"not_before_ms": NOW_MS + 1}, Refusal.AUTHORISATION_TIME),
        ({"requester": "someone else"}, Refusal.REQUESTER),
    ],
    ids=str,
)
def test_what_an_approval_does_not_say_is_not_allowed(changed: dict[str, Any], expected: Refusal) -> None:
    assert judged(APPROVAL, **changed) is expected


@pytest.mark.parametrize("begun_ms", [-1, 0, 1])
def test_what_began_before_clocks_were_set_back_holds_no_more(begun_ms: int) -> None:
    document = msgspec.structs.replace(APPROVAL, not_before_ms=NOW_MS - HOUR_MS + begun_ms)
    policy = msgspec.structs.replace(POLICY, clock_ms=NOW_MS - HOUR_MS)
    found = judge(signed(document, ANN), COMMAND, policy, NOW_MS)
    if begun_ms < 0:
        assert isinstance(found, Denied)
        assert (found.refusal, "people sign anew" in found.detail) == (Refusal.AUTHORISATION_TIME, True)
    else:
        assert isinstance(found, Allowed)


@pytest.mark.parametrize("kind", AuthorisationKind)
def test_nothing_holds_longer_than_its_kind_may(kind: AuthorisationKind) -> None:
    longest_ms = int(LONGEST[kind].total_seconds() * 1000)
    execution = EXECUTION if kind is AuthorisationKind.APPROVAL else None
    changed: dict[str, Any] = {"kind": kind, "execution": execution, "not_before_ms": NOW_MS}
    key = GLASS if kind is AuthorisationKind.BREAK_GLASS else ANN
    assert isinstance(judged(APPROVAL, key, **changed, not_after_ms=NOW_MS + longest_ms), Allowed)
    assert judged(APPROVAL, key, **changed, not_after_ms=NOW_MS + longest_ms + 1) is Refusal.AUTHORISATION_TIME


@pytest.mark.parametrize("name", ["ann", "ANN", " Ann", "ａｎｎ"])
def test_who_asks_is_never_among_those_who_sign_however_the_name_is_written(name: str) -> None:
    assert judged(APPROVAL, command=asked(requester=name), requester=name) is Refusal.REQUESTER
    # The permit was asked for by another; who uses it is the one who signed it.
    assert judged(PERMIT, command=asked(requester=name)) is Refusal.REQUESTER
    assert judged(PERMIT, requester=name) is Refusal.REQUESTER


def test_command_that_does_not_say_who_asks_is_not_allowed() -> None:
    assert judged(PERMIT, command=asked(requester="")) is Refusal.REQUESTER


@pytest.mark.parametrize("key", [STRANGER, ONLINE, SERVER, GLASS, ELSEWHERE])
def test_keys_of_another_office_or_tenant_approve_nothing(key: SigningKey) -> None:
    assert judged(APPROVAL, key) is Refusal.AUTHORISATION_SIGNATURES


def test_permit_is_for_its_fixes_with_any_parameters_and_several_executions() -> None:
    for execution in (EXECUTION, "01890000-0000-7000-8000-000000000002"):
        command = asked(execution=execution, action="clock.sync", params={})
        assert isinstance(judged(PERMIT, command=command), Allowed)
    assert judged(PERMIT, command=asked(action="config.apply")) is Refusal.AUTHORISATION_SCOPE


def test_class_2_takes_two_different_people_and_a_target() -> None:
    command = asked(**SOFTWARE)
    both: dict[str, Any] = {**SOFTWARE, "artifact": ARTIFACT}
    assert isinstance(judged(APPROVAL, ANN, BEN, command=command, **both), Allowed)
    assert judged(APPROVAL, ANN, command=command, **both) is Refusal.AUTHORISATION_SIGNATURES
    assert judged(APPROVAL, ANN, ANNS_NEXT, command=command, **both) is Refusal.AUTHORISATION_SIGNATURES
    assert judged(APPROVAL, ANN, ANN, command=command, **both) is Refusal.AUTHORISATION_SIGNATURES
    assert judged(APPROVAL, ANN, STRANGER, command=command, **both) is Refusal.AUTHORISATION_SIGNATURES
    assert judged(APPROVAL, ANN, BEN, command=command, **SOFTWARE) is Refusal.AUTHORISATION_SCOPE
    assert judged(PERMIT, ANN, BEN, command=command, **both) is Refusal.AUTHORISATION_SCOPE


def test_break_glass_takes_its_own_key_and_no_other() -> None:
    changed: dict[str, Any] = {"kind": AuthorisationKind.BREAK_GLASS, "execution": None}
    allowed = judged(APPROVAL, GLASS, **changed)
    assert isinstance(allowed, Allowed)
    assert allowed.people == ()
    assert judged(APPROVAL, ANN, BEN, **changed) is Refusal.AUTHORISATION_SIGNATURES


def test_group_is_named_by_the_root_of_its_list() -> None:
    group = [f"dev-{number:04}" for number in range(1000)]
    entries = [name.encode() for name in group]
    named: dict[str, Any] = {"targets": [], "target_root": merkle.root(entries).hex(), "target_count": len(group)}
    proof = TargetProof(1, [one.hex() for one in merkle.path(entries, 1)])
    assert isinstance(judged(PERMIT, command=asked(target_proof=proof), **named), Allowed)
    # One that names devices beside the list could be read in two ways: it is read in none.
    both = {**named, "targets": ["dev-0001"]}
    assert judged(PERMIT, command=asked(target_proof=proof), **both) is Refusal.AUTHORISATION_SCOPE
    outsider = asked(audience="dev-1000", target_proof=proof)
    assert judged(PERMIT, command=outsider, **named) is Refusal.AUTHORISATION_SCOPE
    assert judged(PERMIT, command=asked(), **named) is Refusal.AUTHORISATION_SCOPE


@pytest.mark.parametrize("document", ["", "{}", "null", signed(APPROVAL, ANN)[:-9], signed(APPROVAL, ANN) + " x"])
def test_what_is_no_document_is_denied_and_never_raises(document: str) -> None:
    found = judge(document, COMMAND, POLICY, NOW_MS)
    assert isinstance(found, Denied)
    assert found.refusal is Refusal.AUTHORISATION_SIGNATURES


def test_document_of_another_kind_that_an_approver_signed_is_no_authorisation() -> None:
    other = codec.to_json(sign("application/vnd.tillmedic.stop+json", codec.to_json(APPROVAL), [ANN])).decode()
    assert isinstance(judge(other, COMMAND, POLICY, NOW_MS), Denied)
