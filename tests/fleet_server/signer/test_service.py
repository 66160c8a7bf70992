from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fleet_server.signer.errors import ClassNotSigned, ClockWentBack, KeyUnreadable, SigningCapReached
from fleet_server.signer.service import MAX_CHANGES_PER_HOUR, Order, Signer, load_signer
from protocol import codec
from protocol.commands import COMMAND_TYPE, Command, DangerClass
from protocol.errors import Malformed
from protocol.signing import SigningKey, open_envelope, public_keys
from tests.fleet_server.factories import NOON, settings

COMMAND_KEY, APPROVER_KEY = SigningKey.from_seed(b"c" * 32), SigningKey.from_seed(b"a" * 32)
ORDER = Order(
    device_id="d-one-terminal",
    tenant_id="default",
    execution_id="0198d0a0-0000-7000-8000-000000000001",
    action="app.restart",
    danger_class=DangerClass.CHANGES,
    params={},
    counter=7,
    not_after=NOON + timedelta(hours=1),
    nonce="ab" * 16,
)


def command_in(envelope: bytes) -> Command:
    opened = open_envelope(envelope, COMMAND_TYPE, public_keys([COMMAND_KEY.public_hex]))
    assert not isinstance(opened, Malformed)
    command = codec.from_json(opened.payload, Command)
    assert not isinstance(command, Malformed)
    return command


def test_command_names_the_hash_of_the_authorisation_it_carries() -> None:
    command = command_in(Signer(COMMAND_KEY, APPROVER_KEY).sign(ORDER, NOON))
    assert command.authorisation is not None
    assert command.authorisation_sha256 == hashlib.sha256(command.authorisation.encode()).hexdigest()
    assert (command.counter, command.nonce) == (7, "ab" * 16)


def test_reading_command_carries_neither_nonce_nor_authorisation() -> None:
    order = replace(ORDER, danger_class=DangerClass.READS)
    command = command_in(Signer(COMMAND_KEY, None).sign(order, NOON))
    assert (command.nonce, command.authorisation, command.authorisation_sha256) == (None, None, None)


def test_software_is_never_signed_and_changes_only_with_an_approver() -> None:
    with pytest.raises(ClassNotSigned):
        Signer(COMMAND_KEY, APPROVER_KEY).sign(replace(ORDER, danger_class=DangerClass.SOFTWARE), NOON)
    with pytest.raises(ClassNotSigned):
        Signer(COMMAND_KEY, None).sign(ORDER, NOON)


def test_changes_are_capped_in_an_hour_and_reading_is_not() -> None:
    signer = Signer(COMMAND_KEY, APPROVER_KEY)
    for _ in range(MAX_CHANGES_PER_HOUR):
        signer.sign(ORDER, NOON)
    with pytest.raises(SigningCapReached):
        signer.sign(ORDER, NOON + timedelta(minutes=59))
    signer.sign(replace(ORDER, danger_class=DangerClass.READS), NOON)
    signer.sign(ORDER, NOON + timedelta(minutes=61))


def test_clock_may_be_an_hour_behind_the_records_and_no_more() -> None:
    signer = Signer(COMMAND_KEY, None)
    signer.check_clock(NOON, None)
    signer.check_clock(NOON, NOON + timedelta(hours=1))
    with pytest.raises(ClockWentBack, match="3601 s behind"):
        signer.check_clock(NOON, NOON + timedelta(seconds=3601))


def test_seeds_are_read_from_the_installation_and_the_approver_only_in_the_demo(tmp_path: Path) -> None:
    installed = settings(tmp_path)
    with pytest.raises(KeyUnreadable, match=r"approver\.seed"):
        load_signer(installed)
    installed.keys_dir.mkdir(parents=True)
    (installed.keys_dir / "command.seed").write_text((b"c" * 32).hex())
    (installed.keys_dir / "approver.seed").write_text((b"a" * 32).hex())
    assert load_signer(installed).may_change
    assert not load_signer(replace(installed, demo=False)).may_change
    (installed.keys_dir / "command.seed").write_text("c0ffee")
    with pytest.raises(KeyUnreadable, match="3 bytes, expected 32"):
        load_signer(installed)
