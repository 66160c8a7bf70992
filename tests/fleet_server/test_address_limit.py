"""Requests of one address, known caller or not."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.testclient import TestClient

from fleet_server.address_limit import BURST_S, AddressLimit

RATE = 2


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def client(clock: Clock, address: str, app: FastAPI | None = None, rate: int = RATE) -> TestClient:
    limited = AddressLimit(app or FastAPI(), requests_per_s=rate, exempt=frozenset({"127.0.0.1"}), now_s=clock)
    return TestClient(limited, client=(address, 1))


def test_address_that_asks_too_often_is_told_when_to_come_again() -> None:
    clock = Clock()
    asking = client(clock, "10.0.0.1")
    assert {asking.get("/").status_code for _ in range(RATE * BURST_S)} == {404}
    refused = asking.get("/")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.headers["Retry-After"] == "1"
    clock.now_s += 1
    assert [asking.get("/").status_code for _ in range(RATE + 1)] == [404, 404, 429]


def test_one_address_does_not_wait_for_another() -> None:
    clock = Clock()
    limited = AddressLimit(FastAPI(), requests_per_s=RATE, exempt=frozenset(), now_s=clock)
    loud, quiet = TestClient(limited, client=("10.0.0.1", 1)), TestClient(limited, client=("10.0.0.2", 1))
    assert loud.get("/").status_code == 404
    while loud.get("/").status_code != 429:
        pass
    assert quiet.get("/").status_code == 404


def test_a_proxy_and_a_limit_of_nothing_are_not_counted() -> None:
    for asking in (client(Clock(), "127.0.0.1"), client(Clock(), "10.0.0.1", rate=0)):
        assert {asking.get("/").status_code for _ in range(RATE * BURST_S * 3)} == {404}
