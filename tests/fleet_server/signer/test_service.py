from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from fleet_server.kit.times import to_ms
from fleet_server.signer.errors import (
    AuthorisationRefused,
    ClassNotSigned,
    ClockWentBack,
    KeyUnreadable,
    PolicyRefused,
    ResumeRefused,
    SigningCapReached,
    SigningRefused,
    SigningStopped,
)
from fleet_server.signer.keys import load_key
from fleet_server.signer.messages import NewPolicy, Order, Resume, Stop
from fleet_server.signer.service import Caps, Signer, Trust, check_clock
from fleet_server.signer.settings import SignerSettings
from fleet_server.signer.state import SignerState
from protocol import codec
from protocol.authorisations import Artifact, Authorisation, AuthorisationKind, Grant
from protocol.commands import AUTHORISATION_TYPE, COMMAND_TYPE, Command, DangerClass
from protocol.errors import Malformed
from protocol.policy import Root
from protocol.signing import POLICY_TYPE, SigningKey, open_envelope, public_keys, sign
from protocol.stops import STOP_TYPE, StopOrder, open_stop
from tests.fleet_server.factories import NOON
from tests.support.signing import ROOT_KEY, policy_of, signer_with

COMMAND_KEY = SigningKey.from_seed(b"c" * 32)
MEI, BO, BO_TOO, STRANGER = (SigningKey.from_seed(seed * 32) for seed in (b"m", b"b", b"B", b"x"))
APPROVERS = [("mei", MEI), ("bo", BO), ("bo", BO_TOO)]
ORDER = Order(
    device_id="d-one-terminal",
    tenant_id="default",
    execution_id="0198d0a0-0000-7000-8000-000000000001",
    action="app.restart",
    danger_class=DangerClass.CHANGES,
    params={"force": True},
    counter=7,
    not_after_ms=to_ms(NOON + timedelta(hours=1)),
    nonce="ab" * 16,
    requester="lin",
)
READ = replace(ORDER, danger_class=DangerClass.READS, params={})
APPROVAL = Authorisation(
    id=ORDER.execution_id,
    tenant="default",
    kind=AuthorisationKind.APPROVAL,
    requester="lin",
    grants=[Grant("app.restart", {"force": True})],
    danger_class=DangerClass.CHANGES,
    targets=["d-one-terminal"],
    not_before_ms=to_ms(NOON),
    not_after_ms=to_ms(NOON + timedelta(hours=1)),
    max_count=1,
    execution=ORDER.execution_id,
)
ARTIFACT = Artifact("app/1.2.bin", 10, "ab" * 32)
PERMIT = replace(
    APPROVAL,
    kind=AuthorisationKind.SHIFT_PERMIT,
    id="00000000-0000-7000-8000-00000000000a",
    execution=None,
    requester="bo",
    grants=[Grant("app.restart")],
    max_per_device=5,
)


def signed(document: Authorisation, *keys: SigningKey) -> str:
    return codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), keys)).decode()


def allowed(order: Order = ORDER, document: Authorisation = APPROVAL, *keys: SigningKey) -> Order:
    return replace(order, authorisation=signed(document, *(keys or (MEI,))))


def a_signer(state: SignerState | None = None, **caps: int) -> Signer:
    return signer_with(COMMAND_KEY, APPROVERS, state, (), **caps)


def command_in(envelope: bytes) -> Command:
    opened = open_envelope(envelope, COMMAND_TYPE, public_keys([COMMAND_KEY.public_hex]))
    assert not isinstance(opened, Malformed)
    command = codec.from_json(opened.payload, Command)
    assert not isinstance(command, Malformed)
    return command


def numbered(order: Order, number: int, device: int = 0) -> Order:
    return replace(order, execution_id=f"0198d0a0-0000-7000-8000-{number:012}", device_id=f"d-terminal-{device:04}")


def test_command_names_the_hash_of_the_authorisation_it_carries() -> None:
    order = allowed()
    command = command_in(a_signer().sign(order, NOON))
    assert command.authorisation is not None
    assert command.authorisation == order.authorisation
    assert command.authorisation_sha256 == hashlib.sha256(command.authorisation.encode()).hexdigest()
    assert (command.counter, command.nonce, command.issued_at_ms) == (7, "ab" * 16, to_ms(NOON))


def test_reading_command_carries_neither_nonce_nor_authorisation() -> None:
    command = command_in(a_signer().sign(replace(READ, authorisation=signed(APPROVAL, MEI)), NOON))
    assert (command.nonce, command.authorisation, command.authorisation_sha256) == (None, None, None)


@pytest.mark.parametrize("danger_class", [DangerClass.CHANGES, DangerClass.SOFTWARE])
def test_nothing_that_changes_is_signed_without_people(danger_class: DangerClass) -> None:
    with pytest.raises(ClassNotSigned):
        a_signer().sign(replace(ORDER, danger_class=danger_class), NOON)


FORGERIES: dict[str, Callable[[], Order]] = {
    "signed by somebody who is no approver": lambda: allowed(ORDER, APPROVAL, STRANGER),
    "signed with the server's own command key": lambda: allowed(ORDER, APPROVAL, COMMAND_KEY),
    "for another execution": lambda: replace(allowed(), execution_id="0198d0a0-0000-7000-8000-00000000000f"),
    "with other parameters than were approved": lambda: replace(allowed(), params={"force": False}),
    "for another action": lambda: replace(allowed(), action="device.reboot"),
    "for another device": lambda: replace(allowed(), device_id="d-two-terminal"),
    "for another tenant": lambda: replace(allowed(), tenant_id="other"),
    "that is over": lambda: allowed(ORDER, replace(APPROVAL, not_after_ms=to_ms(NOON) - 1)),
    "that has not begun": lambda: allowed(ORDER, replace(APPROVAL, not_before_ms=to_ms(NOON) + 1)),
    "that was changed after it was signed": lambda: replace(
        allowed(), authorisation=signed(APPROVAL, MEI).replace('payload":"ey', 'payload":"eX')
    ),
    "approved by whoever asks": lambda: replace(allowed(), requester="mei"),
    "approved by whoever asks, written otherwise": lambda: replace(allowed(), requester=" MEI"),
    "that was asked for by another": lambda: replace(allowed(), requester="wu"),
    "that does not say who asks": lambda: replace(allowed(), requester=""),
    "of class 2 without a target of the repository": lambda: allowed(
        replace(ORDER, danger_class=DangerClass.SOFTWARE), replace(APPROVAL, danger_class=DangerClass.SOFTWARE), MEI, BO
    ),
    "of class 2 by one approver": lambda: software(MEI),
    "of class 2 by one approver twice": lambda: software(MEI, MEI),
    "of class 2 by one person with two keys": lambda: software(BO, BO_TOO),
    "of class 2 by an approver and a stranger": lambda: software(MEI, STRANGER),
    "of class 2 allowed as class 1": lambda: allowed(
        replace(ORDER, danger_class=DangerClass.SOFTWARE), APPROVAL, MEI, BO
    ),
}


def software(*keys: SigningKey) -> Order:
    order = replace(ORDER, danger_class=DangerClass.SOFTWARE)
    return allowed(order, replace(APPROVAL, danger_class=DangerClass.SOFTWARE, artifact=ARTIFACT), *keys)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_command_is_signed_with_an_authorisation(forgery: str) -> None:
    signer = a_signer()
    with pytest.raises(AuthorisationRefused):
        signer.sign(FORGERIES[forgery](), NOON)
    assert signer.journal(0).entries == []


def test_software_is_signed_with_two_different_people() -> None:
    command = command_in(a_signer().sign(software(MEI, BO), NOON))
    assert command.danger_class is DangerClass.SOFTWARE


def test_an_authorisation_is_used_as_often_as_it_says_and_sending_again_is_no_other_use() -> None:
    permit = replace(PERMIT, max_count=2)
    signer = a_signer()
    orders = [replace(allowed(ORDER, permit), execution_id=numbered(ORDER, n).execution_id) for n in range(3)]
    for order in (orders[0], orders[0], orders[1]):
        signer.sign(order, NOON)
    with pytest.raises(AuthorisationRefused, match="used up"):
        signer.sign(orders[2], NOON)
    signer.sign(orders[1], NOON)


def test_used_counts_caps_and_stops_outlive_a_restart(tmp_path: Path) -> None:
    def restarted() -> Signer:
        return a_signer(SignerState(tmp_path / "signer.db", to_ms(NOON)), changes_per_hour=3)

    signer = restarted()
    for _ in range(2):
        signer.sign(allowed(ORDER, PERMIT), NOON)
    signer.state.close()
    signer = restarted()
    with pytest.raises(AuthorisationRefused, match="used up"):
        signer.sign(replace(allowed(ORDER, PERMIT), execution_id=numbered(ORDER, 9).execution_id), NOON)
    signer.sign(allowed(ORDER, PERMIT), NOON)
    signer.state.close()
    signer = restarted()
    with pytest.raises(SigningCapReached):
        signer.sign(allowed(ORDER, PERMIT), NOON + timedelta(minutes=59))
    signer.stop(Stop("default", "lin"), NOON)
    signer.state.close()
    signer = restarted()
    with pytest.raises(SigningStopped, match="lin"):
        signer.sign(READ, NOON)
    signer.state.close()


def test_a_refused_command_uses_up_nothing() -> None:
    signer = a_signer(changes_per_hour=1)
    for _ in range(5):
        with pytest.raises(AuthorisationRefused):
            signer.sign(allowed(ORDER, APPROVAL, STRANGER), NOON)
    signer.sign(allowed(), NOON)


def test_every_signature_stands_in_the_journal_with_who_allowed_it() -> None:
    signer = a_signer()
    signer.sign(READ, NOON)
    signer.sign(software(MEI, BO), NOON)
    first, second = signer.journal(0).entries
    assert (first.number, first.event, first.device, first.data["class"]) == (1, "signed", "d-one-terminal", 0)
    assert second.data["approvers"] == ["bo", "mei"]
    assert second.data["execution"] == ORDER.execution_id
    assert signer.journal(1).entries == [second]


def lifting(epoch: int, *keys: SigningKey) -> Resume:
    order = StopOrder("default", epoch, to_ms(NOON), lifts=True)
    return Resume("default", codec.to_json(sign(STOP_TYPE, codec.to_json(order), keys)).decode())


def stopped(signer: Signer) -> int:
    signer.stop(Stop("default", "lin", "looks odd"), NOON)
    note = signer.state.stop("default")
    assert note is not None
    assert note.holds
    return note.stopped


def test_a_stop_ends_all_signing_until_approvers_lift_it() -> None:
    signer = a_signer()
    assert stopped(signer) == stopped(signer) == 1
    for order in (READ, allowed()):
        with pytest.raises(SigningStopped):
            signer.sign(order, NOON)
    for keys in ((STRANGER,), (COMMAND_KEY,), (STRANGER, COMMAND_KEY)):
        with pytest.raises(ResumeRefused):
            signer.resume(lifting(1, *keys), NOON)
    signer.resume(lifting(1, MEI), NOON)
    signer.sign(READ, NOON)
    assert stopped(signer) == 2
    with pytest.raises(ResumeRefused, match="expected what lifts stop 2"):
        signer.resume(lifting(1, MEI), NOON)
    signer.resume(lifting(2, MEI), NOON)
    assert [entry.event for entry in signer.journal(0).entries] == [
        "stopped", "resumed", "signed", "stopped", "resumed",
    ]  # fmt: skip


def test_a_stop_is_of_one_tenant_and_terminals_take_what_it_signed() -> None:
    signer = a_signer()
    stopped(signer)
    signer.sign(replace(READ, tenant_id="other"), NOON)
    note = signer.standing(NOON).stops[0]
    order = open_stop(note.document.encode(), policy_of(COMMAND_KEY, APPROVERS), "default")
    assert order == StopOrder("default", 1, to_ms(NOON), reason="looks odd")


def test_a_terminal_may_be_told_to_ask_the_merchant_only_where_the_policy_lets_it() -> None:
    asking = replace(ORDER, consent=True)
    with pytest.raises(ClassNotSigned):
        a_signer().sign(asking, NOON)
    policy = msgspec.structs.replace(policy_of(COMMAND_KEY, APPROVERS), merchant_consent=True)
    caps = Caps.of(SignerSettings(Path(), ""))
    signer = Signer(COMMAND_KEY, Trust(Root.of_enrolment(ROOT_KEY.public_hex), policy), SignerState(None, 0), caps)
    command = command_in(signer.sign(asking, NOON))
    assert (command.consent, command.authorisation, command.requester) == (True, None, "lin")
    for refused in (replace(asking, requester=""), replace(asking, danger_class=DangerClass.SOFTWARE)):
        with pytest.raises(ClassNotSigned):
            signer.sign(refused, NOON)


def test_a_policy_is_taken_from_the_root_alone_and_never_an_older_one() -> None:
    def envelope(version: int, key: SigningKey, approvers: list[tuple[str, SigningKey]]) -> NewPolicy:
        document = codec.to_json(policy_of(COMMAND_KEY, approvers, version))
        return NewPolicy(codec.to_json(sign(POLICY_TYPE, document, [key])).decode())

    signer = a_signer()
    order = allowed(ORDER, APPROVAL, STRANGER)
    for refused in (
        envelope(2, COMMAND_KEY, [("stranger", STRANGER)]),
        envelope(2, STRANGER, [("stranger", STRANGER)]),
        envelope(1, ROOT_KEY, [("stranger", STRANGER)]),
    ):
        with pytest.raises(PolicyRefused):
            signer.take_policy(refused, NOON)
        with pytest.raises(AuthorisationRefused):
            signer.sign(order, NOON)
    signer.take_policy(envelope(3, ROOT_KEY, [("stranger", STRANGER)]), NOON)
    signer.sign(order, NOON)
    with pytest.raises(PolicyRefused, match="expected a version after 3, came 2"):
        signer.take_policy(envelope(2, ROOT_KEY, APPROVERS), NOON)
    with pytest.raises(AuthorisationRefused):
        signer.sign(allowed(), NOON)


def test_an_order_for_longer_than_any_queue_waits_is_refused() -> None:
    with pytest.raises(SigningRefused, match="31 days"):
        a_signer().sign(replace(READ, not_after_ms=to_ms(NOON + timedelta(days=32))), NOON)


def test_clock_may_be_an_hour_behind_the_records_and_no_more() -> None:
    check_clock(NOON, None)
    check_clock(NOON, NOON + timedelta(hours=1))
    with pytest.raises(ClockWentBack, match="3601 s behind"):
        check_clock(NOON, NOON + timedelta(seconds=3601))


def test_a_key_that_cannot_be_read_names_its_file_and_no_digit_of_it(tmp_path: Path) -> None:
    path = tmp_path / "command.seed"
    with pytest.raises(KeyUnreadable, match=r"command\.seed"):
        load_key(path)
    path.write_text("c0ffee")
    with pytest.raises(KeyUnreadable, match="3 bytes, expected 32"):
        load_key(path)
    path.write_text((b"c" * 32).hex())
    assert load_key(path).public_hex == COMMAND_KEY.public_hex
