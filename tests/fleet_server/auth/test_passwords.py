from __future__ import annotations

from threading import BoundedSemaphore

import pytest

from fleet_server.auth import passwords as module
from fleet_server.auth.errors import SignInBusy
from fleet_server.auth.passwords import MAX_LENGTH, Passwords, readable_password


def test_hashes_are_argon2id_and_never_alike() -> None:
    passwords = Passwords.cheap()
    first, second = passwords.hash("same"), passwords.hash("same")
    assert first.startswith("$argon2id$")
    assert first != second


def test_the_standard_cost_is_what_the_design_asks_for() -> None:
    assert "m=65536,t=3,p=4" in Passwords.standard().hash("x")


def test_readable_passwords_are_long_and_differ() -> None:
    made = {readable_password() for _ in range(200)}
    assert len(made) == 200
    assert all(len(one) >= 12 and not set(one) & set("il01o") for one in made)


def test_absurdly_long_passwords_and_foreign_hashes_never_match() -> None:
    passwords = Passwords.cheap()
    assert not passwords.matches("x" * (MAX_LENGTH + 1), passwords.hash("x"))
    assert not passwords.matches("x", "not a hash")
    assert not passwords.matches("x", None)


def test_a_flood_is_turned_away_instead_of_taking_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = BoundedSemaphore(1)
    monkeypatch.setattr(module, "_gate", gate)
    monkeypatch.setattr(module, "_WAIT_S", 0.01)
    with gate, pytest.raises(SignInBusy):
        Passwords.cheap().matches("x", None)
    assert not Passwords.cheap().matches("x", None)
