from __future__ import annotations

import pytest

from fleet_server.auth.password_rules import MIN_LENGTH, Weakness, weakness_of
from fleet_server.auth.passwords import MAX_LENGTH, readable_password


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "Password1234!",
        "123456789012",
        "qwertyuiop123",
        "aaaaaaaaaaaa",
        "abcabcabcabc",
        "iloveyou2024",
        "correct horse battery staple",
        "li.wei.li.wei",
        "tillmedic2026",
        "111111111111111111",
        "1qaz2wsx3edc",
        "P@ssw0rd1234",
        "20251129201125",
    ],
)
def test_what_is_guessed_first_is_refused_however_long_it_is(password: str) -> None:
    assert len(password) >= MIN_LENGTH
    assert weakness_of(password, "li.wei") is Weakness.GUESSABLE


@pytest.mark.parametrize("password", ["violet-harbour-anvil-92", "老街坊的面馆每天六点开门卖面", "zq7!mfpw04xh"])
def test_what_is_hard_to_guess_may_be_used(password: str) -> None:
    assert weakness_of(password, "li.wei") is None


def test_the_limits_of_length() -> None:
    assert weakness_of("zq7!mfpw04x", "li.wei") is Weakness.TOO_SHORT
    assert weakness_of(readable_password() * 14, "li.wei") is Weakness.TOO_LONG
    assert weakness_of((readable_password() * 14)[:MAX_LENGTH], "li.wei") is None


def test_a_slip_in_the_second_field_is_noticed() -> None:
    assert weakness_of("violet-harbour-anvil-92", "li.wei", "violet-harbour-anvil-93") is Weakness.NOT_TWICE
    assert weakness_of("violet-harbour-anvil-92", "li.wei", "violet-harbour-anvil-92") is None


def test_every_password_that_the_program_makes_would_be_taken() -> None:
    assert {weakness_of(readable_password(), "li.wei") for _ in range(50)} == {None}
