from __future__ import annotations

from typing import Any

import msgspec
import pytest

from device_agent.actions import Finding
from device_agent.core.effects import Arrived, JobDone, JobKind
from device_agent.core.trust import Held, Trust, follow
from device_agent.core.trusted_time import BUILD_FLOOR_MS, FLOOR
from protocol import codec
from protocol.authorisations import AuthorisationKind
from protocol.commands import DangerClass, Refusal
from protocol.errors import Malformed
from protocol.executions import STOPPED_CODE, ExecutionState
from protocol.policy import Root
from protocol.records import ExecutionReport, SecurityEvent
from protocol.session import Hello
from protocol.signing import ACK_TYPE, POLICY_TYPE, Approver, SigningKey, sign
from protocol.stops import STOP_TYPE, StopOrder
from protocol.topics import Down, Up
from tests.device_agent.core.invented import FAIL
from tests.device_agent.core.rig import MemoryStore
from tests.device_agent.core.test_agent import Rig
from tests.device_agent.core.test_command_gate import (
    APPROVER_KEY,
    COMMAND_KEY,
    OTHER_KEY,
    POLICY,
    authorised,
    command,
    signed,
)

ROOT, NEXT_ROOT, NEXT_COMMAND, NEXT_SERVER, BEN = (SigningKey.from_seed(bytes([n]) * 32) for n in range(11, 16))
ENROLLED = Root.of_enrolment(ROOT.public_hex)
NOBODY_APPROVES: dict[str, Any] = {"approvers": []}


def document(version: int, *keys: SigningKey, **changed: Any) -> bytes:
    policy = msgspec.structs.replace(POLICY, version=version, **changed)
    return codec.to_json(sign(POLICY_TYPE, codec.to_json(policy), keys or [ROOT]))


def trusting(**changed: Any) -> Trust:
    held = follow([document(1, **changed).decode()], ENROLLED)
    assert isinstance(held, Held)
    return Trust(ENROLLED, held, "default")


def stop(epoch: int, *keys: SigningKey, lifts: bool = False) -> bytes:
    order = StopOrder("default", epoch, 0, lifts, "drill")
    return codec.to_json(sign(STOP_TYPE, codec.to_json(order), keys or [COMMAND_KEY]))


def rig(**changed: Any) -> Rig:
    made = Rig(trust=trusting(**changed))
    made.established()
    return made


def tell(made: Rig, payload: bytes) -> None:
    made.tell(Arrived(Down.TRUST, payload, None))


def events(made: Rig) -> list[str]:
    return [event.code for event in made.bodies(SecurityEvent)]


def last(made: Rig, execution: str) -> ExecutionReport:
    reports: list[ExecutionReport] = made.bodies(ExecutionReport)
    return [report for report in reports if report.execution == execution][-1]


def refusal(made: Rig, action: str = "test.mend") -> str:
    return last(made, made.order(action, counter=100)).code


def done(made: Rig, findings: tuple[Finding, ...] = ()) -> None:
    """The newest job that is out is answered."""
    job = made.jobs()[-1].job
    made.tell(JobDone(job.execution, job.serial, findings, boot="boot-1"))


def test_hello_says_what_is_known() -> None:
    made = rig()
    tell(made, document(2))
    tell(made, stop(3))
    made.effects += made.core.session.greet_again(made.clock.now)
    hello = made.published(Up.HELLO, Hello)[-1]
    assert (hello.policy_version, hello.stop_epoch, hello.lift_epoch) == (2, 3, 0)


def test_new_online_key_takes_the_place_of_the_old_one_at_once_and_after_a_restart() -> None:
    made = rig()
    tell(made, document(2, command_keys=[NEXT_COMMAND.public_hex], server_keys=[NEXT_SERVER.public_hex]))
    assert "policy.accepted" in events(made)
    made.order("test.look")
    assert not made.jobs()
    assert "command.signature" in events(made)
    # Nor is anything of the old server key believed.
    made.down(Down.ACK, ACK_TYPE, made.ack())
    assert made.core.session.refused == {"signature": 1}
    assert made.store.kept_facts["policy_version"] == "2"


def test_approver_who_was_removed_approves_nothing_more_and_a_new_one_does() -> None:
    made = rig()
    tell(made, document(2, approvers=[Approver("ben", BEN.public_hex)]))
    assert refusal(made) == Refusal.AUTHORISATION_SIGNATURES
    tell(made, document(3, approvers=POLICY.approvers))
    assert last(made, made.order("test.mend", counter=2)).state is not ExecutionState.REJECTED


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (document(1, **NOBODY_APPROVES), "trust.version"),
        (document(2, OTHER_KEY), "trust.signature"),
        (document(2, COMMAND_KEY), "trust.signature"),
        (document(2, APPROVER_KEY), "trust.signature"),
        (document(2, approvers=[Approver("me", COMMAND_KEY.public_hex)]), "trust.policy"),
        (document(2, roots=[NEXT_ROOT.public_hex]), "trust.signature"),
        (document(2)[:-2], "trust.not_decodable"),
        (b"{}", "trust.not_decodable"),
        (codec.to_json(sign("application/x", b"{}", [ROOT])), "trust.payload_type"),
        (stop(1, OTHER_KEY), "trust.signature"),
        (stop(1, lifts=True), "trust.signature"),
        (stop(5000), "trust.epoch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_root_and_the_people_did_not_sign_changes_nothing_and_is_counted(payload: bytes, code: str) -> None:
    made = rig()
    tell(made, payload)
    assert code in events(made)
    assert (made.core.trust.policy, made.core.trust.stop.is_stopped) == (POLICY, False)
    assert made.jobs() == []


def test_old_policy_is_refused_also_after_a_restart() -> None:
    made = rig()
    tell(made, document(5))
    tell(made, document(4, **NOBODY_APPROVES))
    assert made.core.trust.policy.version == 5
    assert events(made).count("trust.version") == 1


def test_roots_word_sets_back_a_clock_that_a_server_moved_ahead_and_voids_what_was_allowed_before() -> None:
    made = rig()
    true_ms = made.core.clock.now_ms(made.clock.now)
    made.core.clock.on_signed_time(true_ms + 30 * 86_400_000, made.clock.now)
    assert last(made, made.order("test.look", said_ms=true_ms)).code == Refusal.TOO_LATE
    tell(made, document(2, clock_ms=true_ms))
    assert "clock.set_back" in events(made)
    assert made.store.kept_facts[FLOOR] == f"{true_ms}@{true_ms}"
    made.order("test.look", said_ms=true_ms, counter=101)
    assert made.jobs()[-1].job.definition.declared.name == "test.look"
    # What these people allowed began before: how often it was used may be forgotten.
    assert last(made, made.order("test.mend", counter=102)).code == Refusal.AUTHORISATION_TIME
    # A server that is still wrong is believed again until the root says a later time: no word is taken twice.
    made.core.clock.on_signed_time(true_ms + 30 * 86_400_000, made.clock.now)
    tell(made, document(3, clock_ms=true_ms))
    assert made.core.clock.now_ms(made.clock.now) >= true_ms + 30 * 86_400_000
    assert events(made).count("clock.set_back") == 1


def test_a_policy_that_came_with_the_bundle_sets_the_clock_back_too() -> None:
    made = Rig(trust=trusting(clock_ms=BUILD_FLOOR_MS - 5_000))
    assert made.core.clock.now_ms(made.clock.now) == BUILD_FLOOR_MS - 5_000
    made.settle()
    assert "clock.set_back" in events(made)


def test_new_root_signs_what_follows_and_the_old_one_no_more() -> None:
    made = rig()
    tell(made, document(2, ROOT, NEXT_ROOT, roots=[NEXT_ROOT.public_hex]))
    tell(made, document(3, ROOT))
    assert made.core.trust.policy.version == 2
    tell(made, document(3, NEXT_ROOT))
    assert made.core.trust.policy.version == 3


def test_link_that_slept_through_a_change_of_the_root_follows_it_step_by_step() -> None:
    trust = trusting()
    third = document(3, NEXT_ROOT)
    assert isinstance(trust.on_trust(third, None), Malformed)
    assert isinstance(trust.on_trust(document(2, ROOT, NEXT_ROOT, roots=[NEXT_ROOT.public_hex]), None), SecurityEvent)
    assert isinstance(trust.on_trust(third, None), SecurityEvent)


def test_kept_chain_is_followed_no_further_than_its_versions_rise() -> None:
    """Whoever writes to the store has old policies too, each signed by the root."""
    texts = [document(version).decode() for version in (3, 2, 4)]
    held = follow(texts, ENROLLED)
    assert isinstance(held, Held)
    assert (held.policy.version, held.chain) == (3, (texts[0],))


def test_chain_keeps_only_what_is_needed_to_prove_the_present_policy() -> None:
    trust = trusting()
    change = {"roots": [NEXT_ROOT.public_hex]}
    trust.on_trust(document(2), None)
    trust.on_trust(document(3, ROOT, NEXT_ROOT, **change), None)
    for version in range(4, 9):
        trust.on_trust(document(version, NEXT_ROOT, **change), None)
    assert [follow([text], root) is not None for text, root in zip(trust.held.chain, (ENROLLED,) * 2, strict=True)]
    again = follow(trust.held.chain, ENROLLED)
    assert isinstance(again, Held)
    assert again.policy.version == 8


def test_stop_ends_what_waits_refuses_what_changes_and_lets_checks_through() -> None:
    made = rig()
    waiting = made.order("test.mend")
    assert last(made, waiting).state is ExecutionState.STORED
    tell(made, stop(1))
    assert "stop.in_force" in events(made)
    assert (last(made, waiting).state, last(made, waiting).code) == (ExecutionState.CANCELLED, "stopped")
    assert refusal(made) == Refusal.STOPPED
    made.order("test.look", counter=9)
    assert made.jobs()[-1].job.definition.declared.name == "test.look"


def test_stop_holds_over_a_restart_until_the_people_of_the_policy_lift_it() -> None:
    made = rig()
    tell(made, stop(1))
    again = Rig(made.store, Trust.kept(ENROLLED, trusting().held, "default", made.store.fact))
    again.established()
    assert refusal(again) == Refusal.STOPPED
    tell(again, stop(1, lifts=True))
    assert refusal(again) == Refusal.STOPPED
    tell(again, stop(1, APPROVER_KEY, lifts=True))
    assert "stop.lifted" in events(again)
    assert last(again, again.order("test.mend", counter=5)).state is not ExecutionState.REJECTED
    # The stop that was lifted, said again by whoever kept it.
    tell(again, stop(1))
    assert not again.core.trust.stop.is_stopped


def test_fix_in_the_middle_stops_after_its_present_step_also_when_the_agent_starts_again_meanwhile() -> None:
    store = MemoryStore()
    made = Rig(store, trusting())
    made.established()
    execution = made.order("test.mend")
    done(made, FAIL)
    done(made)
    assert made.jobs()[-1].job.kind is JobKind.STEP
    tell(made, stop(1))
    again = Rig(store, Trust.kept(ENROLLED, trusting().held, "default", store.fact))
    again.settle()
    report = last(again, execution)
    # Its present step may have been done when the agent stopped: it is not run again either.
    assert (report.state, report.code) == (ExecutionState.CANCELLED, STOPPED_CODE)
    assert again.jobs() == []


@pytest.mark.parametrize(("highest", "passes"), [(DangerClass.READS, False), (DangerClass.CHANGES, True)])
def test_switch_of_the_device_turns_a_class_off_whoever_signs(highest: DangerClass, *, passes: bool) -> None:
    made = Rig(trust=trusting(), highest_class=highest)
    made.established()
    found = last(made, made.order("test.mend"))
    assert (found.state is not ExecutionState.REJECTED) is passes
    if not passes:
        assert found.code == Refusal.SWITCHED_OFF
    made.order("test.look", counter=2)
    assert any(job.job.definition.declared.name == "test.look" for job in made.jobs())


def test_command_in_the_place_of_a_policy_is_no_policy() -> None:
    made = rig()
    tell(made, signed(command()))
    assert "trust.payload_type" in events(made)
    assert made.jobs() == []


def test_broken_glass_runs_and_is_loud() -> None:
    made = rig(break_glass_keys=[BEN.public_hex])
    nonce = made.published(Up.HELLO, Hello)[-1].nonce
    now_ms = made.core.clock.now_ms(made.clock.now)
    order = command("test.mend", nonce=nonce, not_after_ms=now_ms + 60_000)
    glass = authorised(order, BEN, kind=AuthorisationKind.BREAK_GLASS, execution=None, not_after_ms=now_ms + 60_000)
    made.tell(Arrived(Down.COMMAND, signed(glass), None))
    assert last(made, order.execution).state is ExecutionState.STORED
    (event,) = [event for event in made.bodies(SecurityEvent) if event.code == "break_glass.used"]
    assert order.execution in event.detail
    assert "test.mend" in event.detail
