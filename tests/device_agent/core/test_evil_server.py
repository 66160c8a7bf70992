"""Broker, server, database and online keys in an attacker's hand: nothing runs that the policy's people did not allow.

``EVIL_COMMANDS``: how many messages; `make evil` sends ten times as many as the suite.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from device_agent.core.command_gate import Accepted, AlreadyKnown, Refused
from device_agent.core.effects import JobKind
from protocol.commands import CONSENT_CODES_PER_HOUR, DangerClass, Refusal
from protocol.errors import Malformed
from protocol.identifiers import ExecutionId
from protocol.topics import Down
from tests.device_agent.core.evil import Attacks, guesses
from tests.device_agent.core.invented import DEVICE
from tests.device_agent.core.victim import PER_DEVICE, PERMITTED, Victim, signed

COMMANDS: Final = int(os.environ.get("EVIL_COMMANDS", "2000"))
SEED: Final = int(os.environ.get("EVIL_SEED", "1"))

# What each kind of attack may be refused for; nothing else counts.
EXPECTED: Final[dict[str, set[Refusal]]] = {
    "forged": {Refusal.SIGNATURE},
    "key_named_falsely": {Refusal.SIGNATURE},
    "other_payload_type": {Refusal.SIGNATURE},
    "algorithm_downgraded": {Refusal.SIGNATURE, Refusal.NOT_DECODABLE},
    "truncated": {Refusal.NOT_DECODABLE},
    "damaged": {Refusal.NOT_DECODABLE, Refusal.SIGNATURE, Refusal.AUTHORISATION_SCOPE},
    "oversized": {Refusal.TOO_LARGE},
    "replayed": {Refusal.REPLAYED, Refusal.SESSION_NONCE},
    "counter_again": {Refusal.REPLAYED},
    "counter_fallen_out": {Refusal.REPLAYED},
    "cross_device": {Refusal.AUDIENCE, Refusal.AUTHORISATION_SCOPE, Refusal.UNKNOWN_ACTION},
    "cross_tenant": {Refusal.AUDIENCE},
    "too_late": {Refusal.TOO_LATE},
    "class_downgraded": {Refusal.UNKNOWN_ACTION},
    "other_session": {Refusal.SESSION_NONCE},
    "version_downgraded": {Refusal.NOT_DECODABLE},
    "unknown_field": {Refusal.NOT_DECODABLE},
    "unknown_action": {Refusal.UNKNOWN_ACTION},
    "parameters": {Refusal.PARAMETERS},
    "bare": {Refusal.AUTHORISATION_MISSING},
    "authorised_by_itself": {Refusal.AUTHORISATION_SIGNATURES},
    "authorisation_altered": {Refusal.AUTHORISATION_SIGNATURES},
    "signature_borrowed": {Refusal.AUTHORISATION_SIGNATURES},
    "hash_of_another": {Refusal.AUTHORISATION_SIGNATURES},
    "approval_used_again": {Refusal.AUTHORISATION_SCOPE},
    "outside_the_permit": {Refusal.AUTHORISATION_SCOPE},
    "permit_out_of_time": {Refusal.AUTHORISATION_TIME},
    "outside_the_group": {Refusal.AUTHORISATION_SCOPE},
    "approver_asks": {Refusal.REQUESTER},
    "class_2_with_too_few": {Refusal.AUTHORISATION_SIGNATURES},
    "class_2_with_a_permit": {Refusal.AUTHORISATION_SCOPE},
    "class_2_without_its_target": {Refusal.ARTIFACT},
    "class_2_by_consent": {Refusal.AUTHORISATION_MISSING},
}
ON_TRUST: Final = {
    "policy_of_before": "version",
    "policy_of_its_own": "signature",
    "policy_resigned": "signature",
    "lift_of_its_own": "signature",
}


@pytest.fixture
def victim() -> Victim:
    return Victim()


@pytest.fixture
def attacks(victim: Victim) -> Attacks:
    return Attacks(victim, random.Random(SEED))


def kinds(attacks: Attacks, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """In an order that the seed gives, each kind about as often as any other."""
    for _ in range(COMMANDS):
        name = attacks.dice.choice(names)
        yield name, getattr(attacks, name)()


def test_nothing_that_nobody_allowed_is_accepted_and_each_is_counted_by_its_reason(
    victim: Victim, attacks: Attacks
) -> None:
    before = victim.begun()
    told_before = victim.rig.core.refusals.total
    found: Counter[tuple[str, str]] = Counter()
    for name, payload in kinds(attacks, list(EXPECTED)):
        victim.decisions.clear()
        victim.send(payload)
        # One kind sends a harmless check first.
        decision = victim.decisions[-1]
        if isinstance(decision, AlreadyKnown):
            assert name == "replayed"
            found[name, "answered from the journal"] += 1
            continue
        assert isinstance(decision, Refused), f"seed {SEED}: {name} was accepted"
        assert decision.refusal in EXPECTED[name], f"seed {SEED}: {name} was refused for {decision}"
        found[name, decision.refusal] += 1
    assert victim.begun() == before
    refused = sum(count for (_, reason), count in found.items() if reason != "answered from the journal")
    assert victim.rig.core.refusals.total - told_before == refused
    assert sum(found.values()) == COMMANDS
    assert {name for name, _ in found} == set(EXPECTED)


def test_nothing_in_the_topic_of_policies_changes_who_may_command(victim: Victim, attacks: Attacks) -> None:
    trusted = victim.rig.core.trust.facts
    total = victim.rig.core.refusals.total
    for name, payload in kinds(attacks, list(ON_TRUST)):
        found = victim.rig.core.trust.on_trust(payload, None)
        assert isinstance(found, Malformed), name
        assert found.code == ON_TRUST[name], name
        victim.send(payload, Down.TRUST)
    assert victim.rig.core.trust.facts == trusted
    assert victim.rig.core.refusals.total - total == COMMANDS


def test_live_permit_is_used_to_its_end_and_not_beyond(victim: Victim, attacks: Attacks) -> None:
    before = victim.begun()
    accepted = Counter[str]()
    for _ in range(COMMANDS // 10):
        victim.send(signed(attacks.change()))
        accepted[type(victim.decisions[-1]).__name__] += 1
    assert accepted["Accepted"] == PER_DEVICE
    assert all(
        one.refusal is Refusal.AUTHORISATION_USED_UP
        for one in victim.decisions[-COMMANDS // 10 :]
        if isinstance(one, Refused)
    )
    rows = [victim.rig.core.executions.known[ExecutionId(one)] for one in victim.begun() - before]
    assert {row.device for row in rows} <= {DEVICE}
    assert {row.action for row in rows} <= set(PERMITTED)


def test_permit_ends_with_its_shift(victim: Victim, attacks: Attacks) -> None:
    victim.rig.pass_s(3 * 3600)
    victim.send(signed(attacks.change()))
    decision = victim.decisions[-1]
    assert isinstance(decision, Refused)
    assert decision.refusal is Refusal.AUTHORISATION_TIME


def test_checks_run_for_whoever_has_the_online_key(victim: Victim) -> None:
    victim.send(signed(victim.command("test.look")))
    decision = victim.decisions[-1]
    assert isinstance(decision, Accepted)
    assert decision.command.danger_class is DangerClass.READS


def test_codes_cannot_be_guessed(victim: Victim, attacks: Attacks) -> None:
    before = victim.begun()
    asked = []
    for _ in range(20):
        victim.send(attacks.consent_beyond_the_hour())
        decision = victim.decisions[-1]
        if isinstance(decision, Accepted):
            asked.append(decision.command.execution)
            victim.show_code()
        else:
            assert isinstance(decision, Refused)
            assert decision.refusal is Refusal.CONSENT_UNAVAILABLE
    assert len(asked) == CONSENT_CODES_PER_HOUR
    for payload in guesses(victim, attacks.dice, asked):
        victim.send(payload)
    assert victim.begun() == before
    ended = [victim.rig.core.executions.known[ExecutionId(one)].code for one in asked]
    assert ended == ["consent_refused"] * CONSENT_CODES_PER_HOUR
    assert all(order.job.kind is not JobKind.STEP for order in victim.rig.jobs() if order.job.execution in asked)


def test_agent_that_starts_again_in_the_middle_of_it_remembers(victim: Victim, attacks: Attacks) -> None:
    for _ in range(PER_DEVICE):
        victim.send(signed(attacks.change()))
    victim.start_again()
    victim.send(signed(attacks.change()))
    decision = victim.decisions[-1]
    assert isinstance(decision, Refused)
    assert decision.refusal is Refusal.AUTHORISATION_USED_UP
    victim.send(victim.sent[0])
    assert not isinstance(victim.decisions[-1], Accepted)
