"""Each question answered by a broker that keeps every promise, and by one that breaks just that one."""

from __future__ import annotations

import pytest

from fleet_server.broker.probe.client import Identity, Place
from fleet_server.broker.probe.entry import MQTT_5
from fleet_server.broker.probe.report import QUESTIONS, Verdict, exit_code, probe
from fleet_server.broker.probe.stage import Cast, Finding, asked
from tests.support.faulty_broker import Fault, FaultyBroker, faulty_broker

pytestmark = pytest.mark.integration
PATIENCE = 0.2
CAST = Cast([Identity(f"svc-probe-{n}", None) for n in (1, 2)], [Identity(f"probe-device-{n}", None) for n in (1, 2)])
# What is about certificates is asked of mosquitto, and so are its statistics: this one has none.
BY_TLS = {"tls13", "certificate", "client_id", "acl_sys"}
FOUND_BY = {
    "mqtt5": Fault.SPEAKS_3_ONLY,
    "acl_read": Fault.READS_ALL,
    "acl_write": Fault.WRITES_ALL,
    "acl_will": Fault.ANY_WILL,
    "refusal_told": Fault.LIES,
    "shared": Fault.SHARED_TO_ALL,
    "dead_member": Fault.DEAD_HOLD_BACK,
    "guessed_group": Fault.GROUPS_MIXED,
    "redelivery": Fault.HELD_IS_LOST,
    "persistent_member": Fault.DEAD_HOLD_BACK,
    "known_group": Fault.GROUPS_MIXED,
    "session_expiry_zero": Fault.SESSION_OUTLIVES,
    "will": Fault.NO_WILL,
    "keepalive": Fault.SILENCE_SUFFERED,
    "takeover": Fault.NO_TAKEOVER,
    "session_kept": Fault.SESSION_FORGOTTEN,
    "message_expiry": Fault.EXPIRY_IGNORED,
    "report_size": Fault.CUT_SHORT,
    "properties": Fault.PROPERTIES_LOST,
    "retained": Fault.RETAINS,
    "topic_alias": Fault.ALIAS_UNASKED,
    "order": Fault.DISORDER,
    "packet_limit": Fault.NO_LIMIT,
    "receive_maximum": Fault.WINDOW_IGNORED,
}


def ask(broker: FaultyBroker, code: str) -> Finding:
    question = next(one for one in QUESTIONS if one.code == code)
    return asked(question, Place("127.0.0.1", broker.port, tls=False), CAST, PATIENCE)


def test_every_question_is_seen_to_say_no() -> None:
    assert FOUND_BY.keys() | BY_TLS == {question.code for question in QUESTIONS}


@pytest.mark.parametrize("code", FOUND_BY)
def test_a_promise_is_found_kept_by_whom_keeps_it(code: str) -> None:
    with faulty_broker() as broker:
        finding = ask(broker, code)
    assert finding.kept is True, finding.en


@pytest.mark.parametrize(("code", "fault"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_promise_is_found_broken_by_whom_breaks_it(code: str, fault: Fault) -> None:
    with faulty_broker(fault) as broker:
        finding = ask(broker, code)
    assert finding.kept is False, finding.en
    assert finding.zh != ""


def test_a_broker_of_mqtt_3_is_asked_nothing_that_needs_5() -> None:
    with faulty_broker(Fault.SPEAKS_3_ONLY) as broker:
        lines = list(probe(Place("127.0.0.1", broker.port, tls=False), CAST, PATIENCE))
    after = lines[QUESTIONS.index(MQTT_5) + 1 :]
    assert {line.verdict for line in after} == {Verdict.NOT_ASKED}
    assert exit_code(lines) == 1
    assert "0x01" in lines[QUESTIONS.index(MQTT_5)].finding.en
