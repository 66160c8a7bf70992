"""The invariant of `fleet_server.connections`, by examples and by any order of events."""

from __future__ import annotations

import resource

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleet_server.connections import ConnectionLimits, Connections, Place, within_open_files

PROXY = "127.0.0.1"
LIMITS = ConnectionLimits(most=6, most_per_address=2, proxies=frozenset({PROXY}))


def test_one_address_gets_so_many_connections_and_a_proxy_more() -> None:
    held: Connections[int] = Connections(LIMITS)
    assert [held.admit(number, "10.0.0.1")[0] for number in range(3)] == [
        Place.GIVEN,
        Place.GIVEN,
        Place.TOO_MANY_OF_ADDRESS,
    ]
    assert all(held.admit(number, PROXY)[0] is Place.GIVEN for number in range(10, 14))
    held.gone(0)
    assert held.admit(20, "10.0.0.1") == (Place.GIVEN, None)


def test_who_has_waited_longest_goes_for_one_who_comes() -> None:
    held: Connections[int] = Connections(LIMITS)
    for number in range(6):
        held.admit(number, PROXY)
    held.served(0)
    assert held.admit(6, "10.0.0.1") == (Place.GIVEN, 1)
    held.waits(0)
    assert held.admit(7, "10.0.0.2") == (Place.GIVEN, 2)
    assert len(held) == 6


def test_only_when_all_are_being_served_is_one_turned_away() -> None:
    held: Connections[int] = Connections(LIMITS)
    for number in range(6):
        held.admit(number, PROXY)
        held.served(number)
    assert held.admit(6, "10.0.0.1") == (Place.TOO_MANY, None)
    assert held.refused == 1


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.held: Connections[int] = Connections(LIMITS)
        self.there: dict[int, str] = {}
        self.working: set[int] = set()
        self.came = 0

    @rule(address=st.sampled_from([PROXY, "10.0.0.1", "10.0.0.2", "10.0.0.3"]))
    def comes(self, address: str) -> None:
        self.came += 1
        of_address = sum(1 for one in self.there.values() if one == address)
        place, displaced = self.held.admit(self.came, address)
        if displaced is not None:
            assert displaced not in self.working
            del self.there[displaced]
        if place is Place.GIVEN:
            assert address == PROXY or of_address < LIMITS.most_per_address
            self.there[self.came] = address
        elif place is Place.TOO_MANY:
            assert self.working == set(self.there)
            assert len(self.there) == LIMITS.most

    @precondition(lambda self: self.there)
    @rule(data=st.data(), what=st.sampled_from(["served", "waits", "gone"]))
    def moves_on(self, data: st.DataObject, what: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.there)))
        getattr(self.held, what)(number)
        self.working.discard(number)
        if what == "served":
            self.working.add(number)
        elif what == "gone":
            del self.there[number]

    @invariant()
    def counts_are_true(self) -> None:
        assert len(self.held) == len(self.there) <= LIMITS.most


TestAnyOrder = AnyOrder.TestCase


def test_no_more_places_than_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: asked.append(limits))
    limits = within_open_files(ConnectionLimits(most=4000))
    assert asked == [(1024, 1024)]
    assert limits.most == 1024 - 256
