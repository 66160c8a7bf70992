"""A device whose clock is wrong reaches the broker; a certificate that has ended for certain is refused anyway."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from device_agent.adapters.mqtt_link import Broker as Address
from device_agent.adapters.mqtt_link import MqttLink
from device_agent.core.effects import Arrived, Connect, LinkDown, LinkUp, Publish
from fleet_server.enrollment.authority import Usage
from fleet_server.enrollment.private_files import write_private
from fleet_server.kit.times import utc_now
from protocol.identifiers import LinkId
from protocol.topics import Up
from tests.support.broker import Broker, issue_any, running_broker
from tests.support.wire_agent import until

pytestmark = pytest.mark.integration
LINK = LinkId("gw-wrong-clock")
YEAR = timedelta(days=200)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path / "broker") as running:
        yield running


def made_at(broker: Broker, moment: datetime) -> None:
    """Gives the broker a certificate of 90 days from ``moment`` on."""
    issued = issue_any(broker.authority, "127.0.0.1", Usage.SERVER, moment, ["127.0.0.1"])
    write_private(broker.tls_dir / "broker.crt", issued.certificate_pem)
    write_private(broker.tls_dir / "broker.key", issued.key_pem)
    broker.restart()


def tried(broker: Broker, trusted: datetime | None) -> LinkUp | LinkDown | Arrived:
    files = broker.link(LINK)
    heard: list[LinkUp | LinkDown | Arrived] = []
    link = MqttLink(LINK, Address(broker.host, broker.port, files.ca, files.certificate, files.key), heard.append)
    trusted_ms = 0 if trusted is None else int(trusted.timestamp() * 1000)
    link.connect(Connect(Publish(Up.PRESENCE, b"{}"), 30, trusted_ms))
    try:
        until(lambda: bool(heard), "an answer")
    finally:
        link.close(None)
    return heard[0]


@pytest.mark.parametrize("lag", [-YEAR, YEAR])
def test_a_certificate_of_another_year_is_taken_when_nothing_better_is_known(broker: Broker, lag: timedelta) -> None:
    # To this machine's clock it has ended, or has not begun.
    made_at(broker, utc_now() + lag)
    assert tried(broker, None) == LinkUp()
    assert tried(broker, utc_now() + lag) == LinkUp()


def test_a_certificate_that_ended_before_the_trusted_time_is_refused(broker: Broker) -> None:
    made_at(broker, utc_now() - YEAR)
    answer = tried(broker, utc_now())
    assert isinstance(answer, LinkDown)
    assert "certificate ended" in answer.reason
