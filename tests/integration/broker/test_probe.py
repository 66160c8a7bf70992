"""The probe on mosquitto: with the configuration that an installation gets, and with one that lets too much through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet_server.__main__ import make_app
from fleet_server.broker.probe.casting import own_cast, place_of
from fleet_server.broker.probe.client import ProbeClient, Wishes
from fleet_server.broker.probe.errors import BrokerNotAskable
from fleet_server.broker.probe.report import QUESTIONS, Verdict, exit_code, probe
from tests.integration.broker.probe_site import PATIENCE, ProbeSite, probe_site
from tests.support.broker import free_port

pytestmark = pytest.mark.integration
# As measured on mosquitto 2.0.11, and what the product does without.
STATISTICS = ("persistence true", "persistence true\nsys_interval 1")
NOTES = {"redelivery", "persistent_member", "known_group", "receive_maximum"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProbeSite]:
    with probe_site(tmp_path_factory.mktemp("probe")) as made:
        yield made


def test_our_own_broker_keeps_what_is_needed_and_nothing_is_left_behind(site: ProbeSite) -> None:
    lines = list(probe(site.place, site.cast, PATIENCE))
    broken = {line.question.code: line.finding.en for line in lines if line.verdict is Verdict.BROKEN}
    assert broken == {}
    assert {line.question.code for line in lines if line.verdict is Verdict.NOTE} <= NOTES
    assert exit_code(lines) == 0
    for identity in (*site.cast.services, *site.cast.devices):
        after = ProbeClient(site.place, identity, Wishes(clean_start=False))
        try:
            after.connect()
            assert not after.session_present
        finally:
            after.close()


EDITS = [
    ("tls13", "mosquitto.conf", [("tls_version tlsv1.3", "tls_version tlsv1.2")]),
    (
        "certificate",
        "mosquitto.conf",
        [
            ("require_certificate true", "require_certificate false"),
            ("use_identity_as_username true\nuse_username_as_clientid true\n", ""),
            ("allow_anonymous false", "allow_anonymous true"),
        ],
    ),
    ("acl_read", "acl", [("pattern read fleet/v1/%u/down/#", "pattern read fleet/v1/+/down/#")]),
    ("acl_read", "acl", [("pattern read fleet/v1/%u/down/#", "pattern read #")]),
    ("acl_write", "acl", [("pattern write fleet/v1/%u/up/#", "pattern write fleet/v1/+/up/#")]),
    ("acl_write", "acl", [("pattern read fleet/v1/%u", "pattern readwrite fleet/v1/+")]),
    ("acl_will", "acl", [("pattern write fleet/v1/%u/up/#", "pattern write fleet/v1/+/up/#")]),
    ("acl_sys", "acl", [("pattern read", "pattern read $SYS/#\npattern read")]),
    ("refusal_told", "acl", [("pattern write fleet/v1/%u/up/#", "pattern write fleet/v1/+/up/#")]),
    ("retained", "mosquitto.conf", [("retain_available false", "retain_available true")]),
    ("client_id", "mosquitto.conf", [("use_username_as_clientid true\n", "")]),
    ("report_size", "mosquitto.conf", [("max_packet_size 262144", "max_packet_size 20000")]),
    ("packet_limit", "mosquitto.conf", [("max_packet_size 262144\n", "")]),
]


@pytest.mark.parametrize(("code", "name", "edits"), EDITS, ids=[f"{code}-{edits[0][1]}" for code, _, edits in EDITS])
def test_a_broker_that_was_made_weaker_is_told_so(
    site: ProbeSite, code: str, name: str, edits: list[tuple[str, str]]
) -> None:
    with site.edited("mosquitto.conf", STATISTICS), site.edited(name, *edits):
        line = site.ask(code)
    assert line.finding.kept is False, line.finding.en
    assert line.verdict is (Verdict.BROKEN if line.question.needed else Verdict.NOTE)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(make_app(), ["broker", "probe", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_a_broker_without_tls_and_rules_is_told_all_that_is_missing(site: ProbeSite) -> None:
    plain = free_port()
    # Before the listener that was there, which keeps its certificates.
    opened = ("allow_anonymous false", f"allow_anonymous true\nlistener {plain} 127.0.0.1")
    with site.edited("mosquitto.conf", STATISTICS, opened, ("acl_file", "#")):
        code, text = run(f"mqtt://127.0.0.1:{plain}", "--json", "--lang", "en", "--patience", str(PATIENCE))
    document = json.loads(text)
    assert code == document["exit_code"] == 1
    verdicts = {one["code"]: one["verdict"] for one in document["promises"]}
    assert list(verdicts) == [question.code for question in QUESTIONS]
    broken = {"tls13", "certificate", "acl_read", "acl_write", "acl_will", "acl_sys", "client_id", "guessed_group"}
    assert {name for name, verdict in verdicts.items() if verdict == "broken"} == broken


def test_with_services_alone_the_devices_questions_are_not_asked(site: ProbeSite, tmp_path: Path) -> None:
    tls = site.broker.tls_dir
    own = [
        "--cafile",
        str(tls / "ca.crt"),
        "--cert",
        str(tls / "svc-fleet-3.crt"),
        "--key",
        str(tls / "svc-fleet-3.key"),
    ]
    url = f"mqtts://{site.broker.host}:{site.broker.port}"
    code, text = run(url, *own, "--lang", "zh_CN.UTF-8")
    assert code == 2
    assert "守约  支持 MQTT 5" in text
    assert "未询问：需要 1 --device-cert" in text
    with pytest.raises(BrokerNotAskable, match="as many keys"):
        run(url, "--cert", str(tls / "svc-fleet-3.crt"))
    with pytest.raises(BrokerNotAskable, match="cannot be used"):
        run(url, "--cert", str(tmp_path / "none"), "--key", str(tmp_path / "none"))


def test_a_broker_that_is_not_there_or_is_anothers_cannot_be_asked(site: ProbeSite, tmp_path: Path) -> None:
    with pytest.raises(BrokerNotAskable, match="Connection refused"):
        run(f"mqtts://127.0.0.1:{free_port()}", "--data", str(site.data))
    with probe_site(tmp_path) as other, pytest.raises(BrokerNotAskable, match="certificate verify failed"):
        list(probe(site.place, other.cast))


@pytest.mark.parametrize("url", ["http://x", "mqtts://", "mqtts://a:b@x", "mqtts://x:99999", "x:1883"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(BrokerNotAskable, match="expected mqtts://HOST:PORT"):
        place_of(url, tmp_path)


def test_without_the_authority_certificates_are_asked_for(site: ProbeSite) -> None:
    key = site.data / "server" / "issuer" / "issuing.crt"
    hidden = key.with_name("hidden")
    key.rename(hidden)
    try:
        with pytest.raises(BrokerNotAskable, match="give --cert and --key"):
            own_cast(site.data)
    finally:
        hidden.rename(key)


def test_every_question_is_asked_in_both_languages() -> None:
    codes = [question.code for question in QUESTIONS]
    assert len(set(codes)) == len(codes) >= 16
    assert all(question.zh and question.en and question.zh != question.en for question in QUESTIONS)
