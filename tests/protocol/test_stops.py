from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol import codec
from protocol.errors import Malformed
from protocol.signing import Approver, Policy, SigningKey, sign
from protocol.stops import MAX_EPOCHS_AHEAD, STOP_TYPE, StopOrder, StopState, open_stop

COMMAND, SERVER, ANN, BEN, EVE, STRANGER = (SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 7))
POLICY = Policy(
    version=1,
    issued_at_ms=0,
    command_keys=[COMMAND.public_hex],
    server_keys=[SERVER.public_hex],
    approvers=[
        Approver("ann", ANN.public_hex),
        Approver("ben", BEN.public_hex),
        Approver("eve", EVE.public_hex, tenant="another"),
    ],
    lift_threshold=2,
)
STOP = StopOrder(tenant="default", epoch=1, issued_at_ms=1)
LIFT = msgspec.structs.replace(STOP, lifts=True)


def opened(order: StopOrder, *keys: SigningKey, payload_type: str = STOP_TYPE) -> StopOrder | Malformed:
    return open_stop(codec.to_json(sign(payload_type, codec.to_json(order), keys)), POLICY, "default")


@pytest.mark.parametrize("key", [COMMAND, ANN, BEN])
def test_one_key_is_enough_to_stop(key: SigningKey) -> None:
    assert opened(STOP, key) == STOP


@pytest.mark.parametrize("key", [SERVER, STRANGER, EVE])
def test_other_keys_cannot_stop(key: SigningKey) -> None:
    assert isinstance(opened(STOP, key), Malformed)


def test_lift_takes_as_many_people_as_the_policy_names() -> None:
    assert opened(LIFT, ANN, BEN) == LIFT
    for keys in ((ANN,), (ANN, ANN), (COMMAND,), (COMMAND, ANN), (ANN, EVE)):
        assert isinstance(opened(LIFT, *keys), Malformed)


@pytest.mark.parametrize("spelling", ["Ann", "ann ", "\uff41\uff4e\uff4e"], ids=["case", "space", "width"])
def test_one_person_with_two_keys_lifts_as_one_however_the_name_is_written(spelling: str) -> None:
    policy = msgspec.structs.replace(POLICY, approvers=[*POLICY.approvers[:1], Approver(spelling, BEN.public_hex)])
    document = codec.to_json(sign(STOP_TYPE, codec.to_json(LIFT), [ANN, BEN]))
    assert isinstance(open_stop(document, policy, "default"), Malformed)


def test_order_of_another_tenant_or_kind_is_none() -> None:
    assert isinstance(opened(msgspec.structs.replace(STOP, tenant="another"), COMMAND), Malformed)
    assert isinstance(opened(STOP, COMMAND, payload_type="application/vnd.tillmedic.command+json"), Malformed)


def after(state: StopState, *orders: tuple[int, bool]) -> StopState:
    for epoch, lifts in orders:
        moved = state.after(StopOrder("default", epoch, 0, lifts))
        state = state if isinstance(moved, Malformed) else moved
    return state


def test_epochs_only_rise_whatever_comes_again_and_in_whatever_order() -> None:
    assert after(StopState(), (1, False)).is_stopped
    assert not after(StopState(), (1, False), (1, True)).is_stopped
    # Said again after its lift, or after it was lifted before it came: nothing.
    assert not after(StopState(), (1, False), (1, True), (1, False)).is_stopped
    assert not after(StopState(), (1, True), (1, False)).is_stopped
    # The lift of an earlier stop does not lift a later one.
    assert after(StopState(), (2, False), (1, True)).is_stopped
    assert after(StopState(), (1, False), (1, True), (2, False), (1, True)).is_stopped
    assert not after(StopState(), (1, False), (3, False), (3, True)).is_stopped


@pytest.mark.parametrize("order", [(1, False), (5, False), (3, True)])
def test_what_changes_nothing_is_told(order: tuple[int, bool]) -> None:
    moved: Any = StopState(5, 3).after(StopOrder("default", order[0], 0, order[1]))
    assert isinstance(moved, Malformed)


def test_stop_that_was_lifted_before_it_came_is_told_as_one_that_changes_nothing() -> None:
    moved: Any = StopState(0, 3).after(StopOrder("default", 2, 0))
    assert isinstance(moved, Malformed)


def test_numbers_cannot_be_used_up_by_whoever_may_stop() -> None:
    assert isinstance(StopState(0, 7).after(StopOrder("default", 8 + MAX_EPOCHS_AHEAD, 0)), Malformed)
    assert StopState(0, 7).after(StopOrder("default", 7 + MAX_EPOCHS_AHEAD, 0)) == StopState(7 + MAX_EPOCHS_AHEAD, 7)
