from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Event, Lock

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from fleet_server.auth import passwords as module
from fleet_server.auth.errors import SignInBusy
from fleet_server.auth.passwords import AT_ONCE, MAX_LENGTH, MAX_WAITING, Passwords, readable_password


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


class Slow(Argon2Hasher):
    """Counts how many hashes are in flight, and holds them until told."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.lock, self.go_on = Lock(), Event()
        self.in_flight = self.most = self.made = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self.lock:
            self.in_flight += 1
            self.made += 1
            self.most = max(self.most, self.in_flight)
        assert self.go_on.wait(30)
        with self.lock:
            self.in_flight -= 1
        return super().hash(password, salt=salt)


def test_a_thousand_at_once_cost_two_hashes_of_memory_and_ten_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hash takes 64 MiB: a thousand would be 62 GiB. Who finds no room is told at once, and holds no thread."""
    monkeypatch.setattr(module, "_WAIT_S", 30.0)
    hasher = Slow()
    passwords = Passwords(PasswordHash((hasher,)))
    told: list[float] = []

    def try_one(_number: int) -> bool:
        begun = time.monotonic()
        try:
            return passwords.matches("x", None)
        except SignInBusy:
            told.append(time.monotonic() - begun)
            if len(told) == 1000 - AT_ONCE - MAX_WAITING:
                hasher.go_on.set()
            return True

    with ThreadPoolExecutor(AT_ONCE + MAX_WAITING + 20) as pool:
        assert len(list(pool.map(try_one, range(1000)))) == 1000
    assert hasher.most == AT_ONCE
    assert hasher.made == AT_ONCE + MAX_WAITING
    assert len(told) == 1000 - AT_ONCE - MAX_WAITING
    assert max(told) < 1.0
