from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleet_server.auth.one_time_codes import (
    RECOVERY_CODES,
    STEP_S,
    address_for_authenticator,
    as_typed,
    new_recovery_codes,
    new_secret,
    step_of,
)
from tests.fleet_server.auth.people import NOW, code_of

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "rfc6238_totp.json").read_text("utf-8"))
SECRET = base64.b32encode(GOLDEN["secret_ascii"].encode()).decode()


@pytest.mark.parametrize(("at_s", "digits"), GOLDEN["rows"])
def test_codes_are_those_of_the_rfc(at_s: int, digits: str) -> None:
    """Six digits are the last six of the eight that the RFC prints."""
    now = datetime.fromtimestamp(at_s, UTC)
    assert step_of(SECRET, digits[-6:], now, after=0) == at_s // STEP_S


@pytest.mark.parametrize(("steps", "is_taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_is_taken_thirty_seconds_early_or_late_and_no_more(steps: int, is_taken: bool) -> None:
    secret = new_secret()
    assert (step_of(secret, code_of(secret, NOW, steps=steps), NOW, after=0) is not None) is is_taken


def test_a_code_is_taken_in_ninety_seconds_of_all() -> None:
    secret = new_secret()
    code, begins = code_of(secret, NOW), NOW.timestamp() // STEP_S * STEP_S
    moments = [datetime.fromtimestamp(begins + s, UTC) for s in range(-120, 151)]
    assert sum(step_of(secret, code, moment, after=0) is not None for moment in moments) == 90


def test_no_code_of_a_step_that_was_taken_or_of_an_earlier_one_counts() -> None:
    secret = new_secret()
    step = step_of(secret, code_of(secret, NOW), NOW, after=0)
    assert step is not None
    for steps in (-1, 0):
        assert step_of(secret, code_of(secret, NOW, steps=steps), NOW, after=step) is None
    assert step_of(secret, code_of(secret, NOW, steps=1), NOW, after=step) == step + 1


@pytest.mark.parametrize("code", ["", "0", "00000", "0000000", "１２３４５６", "-1", "abcdef", "\x00" * 6, "0" * 4000])
def test_whatever_is_no_code_is_refused_without_ado(code: str) -> None:
    assert step_of(new_secret(), as_typed(code), NOW, after=0) is None


def test_codes_may_be_typed_as_people_write_them() -> None:
    assert as_typed(" 123 456 ") == "123456"
    assert as_typed("ABCD-efgh ") == "abcd-efgh"


def test_secrets_and_recovery_codes_differ_and_are_long() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
    assert all(len(base64.b32decode(new_secret())) == 20 for _ in range(10))
    codes = new_recovery_codes()
    assert len(set(codes)) == RECOVERY_CODES
    assert all(len(code) == 19 for code in codes)


def test_the_picture_names_product_and_person() -> None:
    address = address_for_authenticator(SECRET, "李 伟")
    assert address.startswith("otpauth://totp/Tillmedic:%E6%9D%8E%20%E4%BC%9F?secret=")
    assert "issuer=Tillmedic" in address
