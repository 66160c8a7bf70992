"""The door without a broker: what it does when there is none, and to whom it answers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from fleet_server.enrollment.authority import Authority
from fleet_server.enrollment.private_files import make_private_dir
from fleet_server.enrollment.tls_files import Addresses, renew_own_certificates
from fleet_server.ingest.answers import Publication
from fleet_server.ingest.broker_session import BrokerSession
from fleet_server.ingest.door import Door, Taken
from fleet_server.kit.times import utc_now
from fleet_server.mqtt import Received
from fleet_server.settings import ServerSettings
from protocol import mqtt_packets as packets
from protocol.streams import RESEND_FIRST_S
from tests.support.broker import free_port, running_broker
from tests.support.ingest_worker import SERVICE, settings_for


def settings(folder: Path) -> ServerSettings:
    return ServerSettings(folder, "", "127.0.0.1", free_port(), "127.0.0.1", 0, "", "g-1", "default", demo=True)


@pytest.fixture
def lonely(tmp_path: Path) -> Door:
    """Its certificates are there, its broker is not."""
    keys = tmp_path / "server" / "keys"
    make_private_dir(keys)
    authority = Authority.make(utc_now())
    addresses = Addresses("127.0.0.1", 1, "127.0.0.1")
    renew_own_certificates(authority, tmp_path / "server" / "tls", addresses, utc_now())
    return Door(settings(tmp_path), SERVICE)


def test_without_a_broker_it_waits_and_tries_again_and_keeps_nothing(lonely: Door) -> None:
    began_s = time.monotonic()
    for _ in range(4):
        assert lonely.take(0.05) == []
    assert not lonely.is_open
    assert lonely._failures >= 1
    assert time.monotonic() - began_s < 20
    lonely.publish([Publication("svc/v1/events", b"[1]", "application/json", 0)])
    assert lonely.dropped == 1
    lonely.close()


def test_a_message_is_answered_only_on_the_connection_it_came_on(tmp_path: Path) -> None:
    door = Door(settings(tmp_path), SERVICE)
    door._session = BrokerSession("c", [], 0.0)
    door._session.receive(bytes.fromhex("2003 000000 9004 00010001"), 0.0)
    door._session.outgoing.clear()
    door._connection = 2
    message = Received("t", b"", None, 7, 1)
    door.acknowledge([Taken(message, 1), Taken(message, 2), Taken(Received("t", b"", None, 0, 0), 2)])
    assert bytes(door._session.outgoing) == packets.puback(7)


def test_what_is_taken_says_when_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(settings(tmp_path), SERVICE)
    door._session = BrokerSession("c", [], 0.0)
    door._stream = object()  # type: ignore[assignment]  # nobody looks at it
    monkeypatch.setattr(door, "_read", lambda *_: [Received("t", b"", None, 7, 1)])
    before_s = time.monotonic()
    (taken,) = door.take(0.0)
    assert before_s <= taken.came_s <= time.monotonic()


def opened(chosen: ServerSettings) -> Door:
    door = Door(chosen, SERVICE)
    give_up_s = time.monotonic() + 20
    while not door.is_open:
        assert time.monotonic() < give_up_s
        door.take(0.1)
    return door


@pytest.mark.integration
def test_what_it_says_has_left_when_the_broker_reads_however_much_it_is(tmp_path: Path) -> None:
    with running_broker(tmp_path / "broker") as broker:
        door = opened(settings_for(broker, tmp_path))
        # More than the kernel keeps for a connection.
        door.publish([Publication("svc/v1/events", bytes(200_000), "application/json", 0) for _ in range(60)])
        assert door._session is not None
        assert door._stream is not None
        assert (len(door._session.outgoing), door._stream.is_behind, door.dropped) == (0, False, 0)
        os.kill(broker.process.pid, signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            door.publish([Publication("svc/v1/events", bytes(200_000), "application/json", 0) for _ in range(60)])
            assert door._stream.is_behind
            assert time.monotonic() - began_s < 5
        finally:
            os.kill(broker.process.pid, signal.SIGCONT)
        door.close()


@pytest.mark.integration
def test_all_it_subscribes_to_is_shared_in_the_installations_secret_group(tmp_path: Path) -> None:
    with running_broker(tmp_path / "broker") as broker:
        chosen = settings_for(broker, tmp_path)
        door = opened(chosen)
        assert door._session is not None
        names = [name for name, _ in door._session._filters]
        door.close()
    assert len(names) == 6
    assert all(name.startswith(f"$share/{chosen.ingest_group}/") for name in names)


@pytest.mark.parametrize("failures", [0, 3, 10, 10_000])
def test_however_long_the_broker_was_away_it_is_tried_again_within_the_timer_of_senders(
    tmp_path: Path, failures: int
) -> None:
    door = Door(settings(tmp_path), SERVICE)
    for _ in range(200):
        door._failures = failures
        now_s = time.monotonic()
        door._back_off()
        assert door._retry_at_s - now_s <= RESEND_FIRST_S + 0.1
