from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol import codec
from protocol.errors import Malformed
from protocol.policy import Root, next_root, open_policy
from protocol.signing import POLICY_TYPE, Approver, Policy, SigningKey, sign

COMMAND, SERVER, ANN, GLASS, OLD, NEW, NEW_2, NEW_3 = (SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 9))
POLICY = Policy(1, 0, [COMMAND.public_hex], [SERVER.public_hex], [Approver("ann", ANN.public_hex)])
ROOT = Root.of_enrolment(OLD.public_hex)


def opened(*keys: SigningKey, root: Root = ROOT, **changed: Any) -> Policy | Malformed:
    policy = msgspec.structs.replace(POLICY, **changed)
    return open_policy(codec.to_json(sign(POLICY_TYPE, codec.to_json(policy), keys)), root)


def test_policy_is_taken_from_its_root_alone() -> None:
    assert opened(OLD) == POLICY
    for key in (NEW, COMMAND, SERVER, ANN):
        assert isinstance(opened(key), Malformed)


def test_new_root_signs_beside_the_old_one_and_then_alone() -> None:
    changed: dict[str, Any] = {"roots": [NEW.public_hex, NEW_2.public_hex, NEW_3.public_hex], "root_threshold": 2}
    assert isinstance(opened(OLD, **changed), Malformed)
    assert isinstance(opened(OLD, NEW, **changed), Malformed)
    assert isinstance(opened(NEW, NEW_2, **changed), Malformed)
    first = opened(OLD, NEW, NEW_3, **changed)
    assert isinstance(first, Policy)
    root = next_root(first, ROOT)
    assert isinstance(opened(NEW_2, NEW_3, root=root, version=2), Policy)
    assert isinstance(opened(NEW_2, root=root, version=2), Malformed)
    assert isinstance(opened(OLD, NEW_2, root=root, version=2), Malformed)
    assert next_root(POLICY, root) == root


def test_same_root_key_twice_is_one_signature() -> None:
    changed: dict[str, Any] = {"roots": [NEW.public_hex, NEW.public_hex], "root_threshold": 2}
    assert isinstance(opened(OLD, NEW, NEW, **changed), Malformed)


@pytest.mark.parametrize(
    "changed",
    [
        {"approvers": [Approver("server", COMMAND.public_hex)]},
        {"break_glass_keys": [COMMAND.public_hex]},
        {"break_glass_keys": [ANN.public_hex]},
        {"server_keys": [COMMAND.public_hex]},
        {"approvers": [Approver("root", OLD.public_hex)], "roots": [OLD.public_hex]},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_key_with_two_offices_makes_no_policy(changed: dict[str, Any]) -> None:
    assert isinstance(opened(OLD, **changed), Malformed)


def test_fields_of_before_are_still_the_same_bytes() -> None:
    assert codec.to_json(POLICY) == (
        b'{"version":1,"issued_at_ms":0,"command_keys":["%b"],"server_keys":["%b"],'
        b'"approvers":[{"name":"ann","public":"%b"}]}'
        % (COMMAND.public_hex.encode(), SERVER.public_hex.encode(), ANN.public_hex.encode())
    )
