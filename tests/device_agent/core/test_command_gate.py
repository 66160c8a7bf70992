from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.core.command_gate import Accepted, AlreadyKnown, CommandGate, Decision, Refused, Standing
from protocol import codec
from protocol.authorisations import Artifact, Authorisation, AuthorisationKind, Grant, sha256_of
from protocol.commands import (
    AUTHORISATION_TYPE,
    CANCEL,
    COMMAND_TYPE,
    MAX_COMMAND_BYTES,
    Command,
    DangerClass,
    Refusal,
)
from protocol.signing import Approver, Policy, SigningKey, sign
from tests.device_agent.core.invented import DEVICE, DEVICES, OTHER

COMMAND_KEY, APPROVER_KEY, OTHER_KEY = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
POLICY = Policy(1, 0, [COMMAND_KEY.public_hex], [OTHER_KEY.public_hex], [Approver("a", APPROVER_KEY.public_hex)])
NONCE, NOW_MS = "f" * 32, 1_000_000


def standing(journalled: tuple[str, ...] = (), nonce: str = NONCE) -> Standing:
    return Standing("default", nonce, NOW_MS, DEVICES, journalled)


def command(action: str = "test.look", **changed: Any) -> Command:
    reads = action in {"test.look", CANCEL}
    plain = Command(
        version=1,
        audience=DEVICE,
        tenant="default",
        execution=str(uuid.uuid4()),
        action=action,
        danger_class=DangerClass.READS if reads else DangerClass.CHANGES,
        params={},
        issued_at_ms=NOW_MS,
        not_after_ms=NOW_MS + 1000,
        counter=1,
        nonce=None if reads else NONCE,
        requester="" if reads else "asks",
    )
    return msgspec.structs.replace(plain, **changed)


def authorised(order: Command, *keys: SigningKey, **changed: Any) -> Command:
    allowed = Authorisation(
        id=str(uuid.uuid4()),
        tenant="default",
        kind=AuthorisationKind.APPROVAL,
        requester="asks",
        grants=[Grant(order.action)],
        danger_class=DangerClass.CHANGES,
        targets=[DEVICE],
        not_before_ms=max(changed.get("not_after_ms", NOW_MS) - 3_600_000, 0),
        not_after_ms=NOW_MS + 10,
        max_count=1,
        execution=order.execution,
    )
    allowed = msgspec.structs.replace(allowed, **changed)
    text = codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(allowed), keys or (APPROVER_KEY,))).decode()
    return msgspec.structs.replace(order, authorisation=text, authorisation_sha256=sha256_of(text))


def signed(order: Command, key: SigningKey = COMMAND_KEY) -> bytes:
    return codec.to_json(sign(COMMAND_TYPE, codec.to_json(order), [key]))


def decide(order: Command, gate: CommandGate | None = None, **facts: Any) -> Decision:
    gate = gate or CommandGate(POLICY, lambda _name: None, lambda: "0" * 32)
    return gate.decide(signed(order), standing(**facts))


def refusal(order: Command, **facts: Any) -> Refusal:
    decision = decide(order, **facts)
    assert isinstance(decision, Refused)
    return decision.refusal


def test_check_signed_by_the_command_key_is_accepted_with_defaults_filled_in() -> None:
    decision = decide(command())
    assert isinstance(decision, Accepted)
    assert decision.params == {"level": 1}
    assert list(decision.facts) == [f"counter/{DEVICE}/{COMMAND_KEY.id}"]


def test_fix_needs_signature_nonce_and_authorisation_and_counts_its_use() -> None:
    decision = decide(authorised(command("test.mend")))
    assert isinstance(decision, Accepted)
    assert any(name.startswith("used/") for name in decision.facts)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (command(version=2), Refusal.NOT_DECODABLE),
        (command(audience="zvt-99999999"), Refusal.AUDIENCE),
        (command(tenant="another"), Refusal.AUDIENCE),
        (command("test.unheard_of"), Refusal.UNKNOWN_ACTION),
        (command("test.mend", danger_class=DangerClass.READS), Refusal.UNKNOWN_ACTION),
        (authorised(command("test.mend", nonce="0" * 32)), Refusal.SESSION_NONCE),
        (authorised(command("test.mend", nonce=None)), Refusal.SESSION_NONCE),
        (command(not_after_ms=NOW_MS - 1), Refusal.TOO_LATE),
        (command(params={"level": 9}), Refusal.PARAMETERS),
        (command(params={"other": 1}), Refusal.PARAMETERS),
        (command("test.mend"), Refusal.AUTHORISATION_MISSING),
        (authorised(command("test.mend"), OTHER_KEY), Refusal.AUTHORISATION_SIGNATURES),
        (
            msgspec.structs.replace(authorised(command("test.mend")), authorisation_sha256="0" * 64),
            Refusal.AUTHORISATION_SIGNATURES,
        ),
        (authorised(command("test.mend"), targets=["zvt-99999999"]), Refusal.AUTHORISATION_SCOPE),
        (authorised(command("test.mend"), grants=[Grant("test.once")]), Refusal.AUTHORISATION_SCOPE),
        (authorised(command("test.mend"), grants=[Grant("test.mend", {"level": 2})]), Refusal.AUTHORISATION_SCOPE),
        (authorised(command("test.mend"), danger_class=DangerClass.READS), Refusal.AUTHORISATION_SCOPE),
        (authorised(command("test.mend"), not_after_ms=NOW_MS - 1), Refusal.AUTHORISATION_TIME),
        (authorised(command("test.mend"), not_before_ms=NOW_MS + 1), Refusal.AUTHORISATION_TIME),
    ],
)
def test_each_refusal_has_its_own_code(order: Command, expected: Refusal) -> None:
    assert refusal(order) is expected


def test_reasons_are_looked_for_in_the_order_of_the_protocol() -> None:
    everything_wrong = command("test.mend", nonce=None, not_after_ms=0, params={"level": 9})
    assert refusal(everything_wrong) is Refusal.SESSION_NONCE
    assert refusal(msgspec.structs.replace(everything_wrong, nonce=NONCE)) is Refusal.TOO_LATE
    in_time = msgspec.structs.replace(everything_wrong, nonce=NONCE, not_after_ms=NOW_MS)
    assert refusal(in_time) is Refusal.PARAMETERS


def test_command_of_another_key_is_refused_before_anything_in_it_is_believed() -> None:
    gate = CommandGate(POLICY, lambda _name: None, lambda: "0" * 32)
    decision = gate.decide(signed(command(audience="zvt-99999999"), OTHER_KEY), standing())
    assert isinstance(decision, Refused)
    assert (decision.refusal, decision.execution) == (Refusal.SIGNATURE, None)


def test_too_large_command_is_not_even_parsed() -> None:
    gate = CommandGate(POLICY, lambda _name: None, lambda: "0" * 32)
    decision = gate.decide(b" " * (MAX_COMMAND_BYTES + 1), standing())
    assert isinstance(decision, Refused)
    assert decision.refusal is Refusal.TOO_LARGE


def test_counter_is_accepted_once_also_after_a_restart() -> None:
    facts: dict[str, str] = {}
    gate = CommandGate(POLICY, facts.get, lambda: "0" * 32)
    first = decide(command(), gate)
    assert isinstance(first, Accepted)
    facts.update(first.facts)
    for one in (gate, CommandGate(POLICY, facts.get, lambda: "0" * 32)):
        again = decide(command(), one)
        assert isinstance(again, Refused)
        assert again.refusal is Refusal.REPLAYED


def test_refused_command_uses_no_counter_up() -> None:
    gate = CommandGate(POLICY, lambda _name: None, lambda: "0" * 32)
    assert isinstance(decide(command(params={"level": 9}), gate), Refused)
    assert isinstance(decide(command(), gate), Accepted)


def test_authorisation_is_used_up_here() -> None:
    gate = CommandGate(POLICY, lambda _name: None, lambda: "0" * 32)
    order = authorised(command("test.mend"), kind=AuthorisationKind.SHIFT_PERMIT)
    assert isinstance(decide(order, gate), Accepted)
    again = decide(msgspec.structs.replace(order, execution=str(uuid.uuid4()), counter=2), gate)
    assert isinstance(again, Refused)
    assert again.refusal is Refusal.AUTHORISATION_USED_UP


def test_journalled_execution_is_answered_whatever_its_counter() -> None:
    order = command()
    assert decide(order, journalled=(order.execution,)) == AlreadyKnown(order.execution)  # type: ignore[arg-type]  # a NewType of str


def test_cancel_is_accepted_for_any_device_without_being_declared() -> None:
    decision = decide(command(CANCEL, params={"execution": str(uuid.uuid4())}))
    assert isinstance(decision, Accepted)
    assert decision.definition is None


VALID = signed(authorised(command("test.mend")))


@settings(max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.integers(0, len(VALID) - 1).flatmap(
            lambda place: st.binary(min_size=1, max_size=3).map(
                lambda change: VALID[:place] + change + VALID[place + len(change) :]
            )
        ),
    )
)
def test_no_bytes_but_the_signed_ones_are_obeyed(payload: bytes) -> None:
    decision = CommandGate(POLICY, lambda _name: None, lambda: "0" * 32).decide(payload, standing())
    if isinstance(decision, Accepted):
        # The envelope may be written otherwise; what is signed must be the same.
        assert codec.to_json(decision.command) == codec.to_json(authorised_command())


def authorised_command() -> Command:
    opened = CommandGate(POLICY, lambda _name: None, lambda: "0" * 32).decide(VALID, standing())
    assert isinstance(opened, Accepted)
    return opened.command


def test_a_use_stays_counted_when_the_clock_goes_back_and_is_not_kept_in_memory_for_ever() -> None:
    stored: dict[str, str] = {}
    gate = CommandGate(POLICY, stored.get, lambda: "0" * 32)

    def at(order: Command, now_ms: int, counter: int) -> Decision:
        sent = msgspec.structs.replace(order, execution=str(uuid.uuid4()), counter=counter, not_after_ms=now_ms)
        decision = gate.decide(signed(sent), dataclasses.replace(standing(), trusted_ms=now_ms))
        if isinstance(decision, Accepted):
            stored.update(decision.facts)
        return decision

    orders = [
        authorised(
            command("test.mend"),
            kind=AuthorisationKind.SHIFT_PERMIT,
            not_before_ms=hour * 100,
            not_after_ms=hour * 100 + 99,
        )
        for hour in range(50)
    ]
    for hour, order in enumerate(orders):
        assert isinstance(at(order, hour * 100, hour + 1), Accepted)
    assert len(gate._uses) == 2  # on the link and on the device
    again = at(orders[3], 300, 60)
    assert isinstance(again, Refused)
    assert again.refusal is Refusal.AUTHORISATION_USED_UP


ARTIFACT = Artifact("apps/pay.pkg", 1000, "ab" * 32)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (ARTIFACT, None),
        (None, Refusal.ARTIFACT),
        (msgspec.structs.replace(ARTIFACT, length=999), Refusal.ARTIFACT),
        (msgspec.structs.replace(ARTIFACT, sha256="cd" * 32), Refusal.ARTIFACT),
    ],
)
def test_class_2_takes_two_people_and_the_very_file_that_they_signed_for(
    held: Artifact | None, expected: Refusal | None
) -> None:
    second = SigningKey.from_seed(bytes([4]) * 32)
    policy = msgspec.structs.replace(POLICY, approvers=[*POLICY.approvers, Approver("b", second.public_hex)])
    gate = CommandGate(policy, lambda _name: None, lambda: "0" * 32)
    gate.held = lambda _wanted: held
    software = {"danger_class": DangerClass.SOFTWARE}
    order = authorised(command("test.install", **software), APPROVER_KEY, second, artifact=ARTIFACT, **software)
    decision = gate.decide(signed(order), standing())
    assert (decision.refusal if isinstance(decision, Refused) else None) is expected
    if expected is None:
        # What is to be installed is what they signed, and nothing that the command could say.
        assert isinstance(decision, Accepted)
        assert {name: decision.params[name] for name in ("path", "length", "sha256")} == msgspec.to_builtins(ARTIFACT)
        # Once: its approval is for one execution, and used up.
        again = msgspec.structs.replace(order, counter=2)
        refused = gate.decide(signed(again), standing())
        assert isinstance(refused, Refused)
        assert refused.refusal is Refusal.AUTHORISATION_USED_UP


def test_uses_are_counted_on_the_link_and_on_each_of_its_devices() -> None:
    gate = CommandGate(POLICY, lambda _name: None, lambda: "0" * 32)
    permit = {"kind": AuthorisationKind.SHIFT_PERMIT, "targets": [DEVICE, OTHER], "max_count": 3, "max_per_device": 2}
    order = authorised(command("test.mend"), **permit)
    found = []
    for counter, device in enumerate([DEVICE, DEVICE, DEVICE, OTHER, OTHER], 1):
        sent = msgspec.structs.replace(order, execution=str(uuid.uuid4()), audience=device, counter=counter)
        decision = gate.decide(signed(sent), standing())
        found.append(decision.refusal if isinstance(decision, Refused) else None)
    used_up = Refusal.AUTHORISATION_USED_UP
    assert found == [None, None, used_up, None, used_up]
