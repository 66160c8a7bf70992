from __future__ import annotations

from pathlib import Path

from protocol.broker_rules import PROBE_NAMES, SERVICE_NAMES, BrokerPlaces, acl, mosquitto_conf
from protocol.identifiers import is_identifier

GOLDEN = Path(__file__).parents[1] / "golden"
PLACES = BrokerPlaces(
    "/d/tls/ca.crt", "/d/tls/ca.crl", "/d/tls/broker.crt", "/d/tls/broker.key", "/d/broker/acl", "/d/broker/state"
)


def test_the_configuration_stays_as_it_was_measured() -> None:
    text = mosquitto_conf(PLACES, address="127.0.0.1", port=8883)
    assert text == (GOLDEN / "mosquitto.conf").read_text("utf-8")


def test_only_the_user_changes_when_root_starts_it() -> None:
    plain = mosquitto_conf(PLACES, address="127.0.0.1", port=8883)
    assert mosquitto_conf(PLACES, address="127.0.0.1", port=8883, run_as="root") == "user root\n" + plain


def test_there_is_one_listener_and_it_demands_certificates() -> None:
    lines = mosquitto_conf(PLACES, address="127.0.0.1", port=8883).splitlines()
    assert [line for line in lines if line.startswith("listener")] == ["listener 8883 127.0.0.1"]
    assert {"require_certificate true", "allow_anonymous false", "set_tcp_nodelay true"} <= set(lines)


def test_the_access_rules_stay_as_they_were_tested() -> None:
    assert acl() == (GOLDEN / "mosquitto.acl").read_text("utf-8")


def test_no_service_name_can_be_a_link() -> None:
    names = [*SERVICE_NAMES, *PROBE_NAMES]
    assert not any(is_identifier(name) for name in names)
    assert len(set(names)) == len(names)
