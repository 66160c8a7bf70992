"""Each rule broken once by hand in the files that an installation gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet_server import preflight
from fleet_server.broker.drift import compare
from fleet_server.enrollment.settings_file import Wishes, ensure_settings
from fleet_server.enrollment.tls_files import Addresses, broker_configuration, write_broker_files
from fleet_server.settings import ServerSettings

ADDRESSES = Addresses("127.0.0.1", 8883, "127.0.0.1")


@pytest.fixture
def broker_dir(tmp_path: Path) -> Path:
    write_broker_files(tmp_path / "broker", tmp_path / "tls", ADDRESSES)
    return tmp_path / "broker"


def wanted(broker_dir: Path) -> str:
    return broker_configuration(broker_dir, broker_dir.parent / "tls", ADDRESSES)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_what_was_written_is_as_wanted(broker_dir: Path) -> None:
    drift = compare(broker_dir, wanted(broker_dir))
    assert (drift.weaker, drift.other) == ((), ())


BROKEN = [
    ("per_listener_settings false", "per_listener_settings true", "'per_listener_settings false'"),
    ("allow_anonymous false", "allow_anonymous true", "found 'allow_anonymous true'"),
    ("allow_anonymous false\n", "", "expected 'allow_anonymous false', found no such line"),
    ("allow_zero_length_clientid false", "allow_zero_length_clientid true", "'allow_zero_length_clientid false'"),
    ("retain_available false", "retain_available true", "found 'retain_available true'"),
    ("queue_qos0_messages false", "queue_qos0_messages true", "'queue_qos0_messages false'"),
    ("max_queued_messages 10000", "max_queued_messages 0", "'max_queued_messages 1000 to 100000'"),
    ("max_queued_bytes 67108864\n", "", "expected 'max_queued_bytes"),
    ("max_inflight_messages 1000", "max_inflight_messages 0", "'max_inflight_messages 20 to 65535'"),
    ("max_packet_size 262144", "max_packet_size 268435456", "found 'max_packet_size 268435456'"),
    ("max_packet_size 262144", "max_packet_size 1000", "found 'max_packet_size 1000'"),
    ("max_keepalive 600", "max_keepalive 65535", "'max_keepalive 600 to 3600'"),
    ("persistent_client_expiration 14d", "persistent_client_expiration 9y", "7d to 60d"),
    ("persistent_client_expiration 14d\n", "", "expected 'persistent_client_expiration"),
    ("require_certificate true", "require_certificate false", "found 'require_certificate false'"),
    ("use_identity_as_username true", "use_identity_as_username false", "'use_identity_as_username true'"),
    ("use_username_as_clientid true\n", "", "expected 'use_username_as_clientid true' of 'listener 8883 127.0.0.1'"),
    ("tls_version tlsv1.3", "tls_version tlsv1.2", "expected 'tls_version tlsv1.3', found 'tls_version tlsv1.2'"),
    ("ciphers_tls1.3 ", "ciphers_tls1.3 TLS_AES_128_CCM_8_SHA256:", "TLS_AES_128_CCM_8_SHA256"),
    ("allow_anonymous false", "allow_anonymous false\nlistener 1883", "'cafile an absolute path' of 'listener 1883'"),
    ("allow_anonymous false", "allow_anonymous false\nport 1883", "expected no option 'port'"),
    ("allow_anonymous false", "allow_anonymous false\ninclude_dir /etc/x", "expected no option 'include_dir'"),
    ("allow_anonymous false", "allow_anonymous false\nplugin /x.so", "expected no option 'plugin'"),
    ("allow_anonymous false", "allow_anonymous false\nconnection out", "expected no option 'connection'"),
    ("allow_anonymous false", "allow_anonymous false\nallow_anonymous true", "found 'allow_anonymous true'"),
    ("require_certificate true", "require_certificate true\nmount_point a/", "expected no option 'mount_point'"),
    ("require_certificate true", "require_certificate true\npsk_hint x", "expected no option 'psk_hint'"),
    ("/tls/ca.crt", "/elsewhere/ca.crt", "found 'cafile"),
    ("/tls/ca.crl", "/elsewhere/ca.crl", "found 'crlfile"),
    ("/broker/acl", "/elsewhere/acl", "found 'acl_file"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), BROKEN, ids=[f"{old}>{new}" for old, new, _ in BROKEN])
def test_a_weaker_configuration_is_named_with_expected_and_found(
    broker_dir: Path, old: str, new: str, sentence: str
) -> None:
    edit(broker_dir / "mosquitto.conf", old, new)
    told = "\n".join(compare(broker_dir, wanted(broker_dir)).weaker)
    assert sentence in told
    assert "expected" in told


def test_each_line_of_the_access_list_and_crl_is_needed(broker_dir: Path) -> None:
    edit(broker_dir / "mosquitto.conf", "crlfile ", "#")
    edit(broker_dir / "mosquitto.conf", "acl_file ", "#")
    told = "\n".join(compare(broker_dir, wanted(broker_dir)).weaker)
    assert "'acl_file an absolute path', found no such line" in told
    assert "'crlfile an absolute path' of 'listener 8883 127.0.0.1', found no such line" in told


WIDER = [
    ("user svc-fleet-1\n", "topic read #\n\nuser svc-fleet-1\n", "everybody without a name: read #"),
    ("user svc-api-1\n", "user svc-api-1\ntopic read $SYS/#\n", "svc-api-1: read $SYS/#"),
    ("fleet/v1/%u/down/#", "fleet/v1/+/down/#", "every link: read fleet/v1/+/down/#"),
    ("write fleet/v1/%u/up/#", "write fleet/v1/%c/up/#", "every link: write fleet/v1/%c/up/#"),
    ("pattern read", "pattern readwrite", "every link: write fleet/v1/%u/down/#"),
    ("user svc-api-2\n", "user d-aaaaaaaaaaaa\ntopic svc/v1/#\n\nuser svc-api-2\n", "d-aaaaaaaaaaaa: read svc/v1/#"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), WIDER, ids=[sentence for _, _, sentence in WIDER])
def test_a_wider_right_is_named(broker_dir: Path, old: str, new: str, sentence: str) -> None:
    edit(broker_dir / "acl", old, new)
    assert sentence in "\n".join(compare(broker_dir, wanted(broker_dir)).weaker)


def test_a_missing_file_is_said_by_its_path(broker_dir: Path) -> None:
    (broker_dir / "acl").unlink()
    assert str(broker_dir / "acl") in compare(broker_dir, wanted(broker_dir)).weaker[0]


def test_files_that_others_may_write_are_no_rules(broker_dir: Path) -> None:
    (broker_dir / "acl").chmod(0o666)
    assert "found mode 0666" in compare(broker_dir, wanted(broker_dir)).weaker[0]


def test_what_is_stricter_or_harmless_is_a_remark(broker_dir: Path) -> None:
    edit(broker_dir / "mosquitto.conf", "max_connections 20000", "max_connections 500\npid_file /run/m.pid")
    edit(broker_dir / "acl", "user svc-api-1\n", "user d-bbbbbbbbbbbb\ntopic deny #\n\nuser svc-api-1\n")
    edit(broker_dir / "acl", "topic write fleet/v1/+/down/probe/#\n", "")
    drift = compare(broker_dir, wanted(broker_dir))
    assert drift.weaker == ()
    told = "\n".join(drift.other)
    for word in ("pid_file", "max_connections", "d-bbbbbbbbbbbb: deny #", "svc-probe-1: write"):
        assert word in told


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    made = ensure_settings(tmp_path, Wishes())
    write_broker_files(tmp_path / "broker", made.tls_dir, Addresses(made.mqtt_host, made.mqtt_port, made.http_host))
    return made


def test_the_start_is_refused_in_one_sentence_with_the_way_out(settings: ServerSettings) -> None:
    assert preflight.check_broker_rules(settings) == []
    edit(settings.data / "broker" / "mosquitto.conf", "allow_anonymous false", "allow_anonymous true")
    with pytest.raises(preflight.BrokerTooWeak, match=r"found 'allow_anonymous true'.*fleet-server init --data"):
        preflight.check_broker_rules(settings)


def test_a_broker_elsewhere_is_left_to_the_probe(settings: ServerSettings, tmp_path: Path) -> None:
    elsewhere = replace(settings, data=tmp_path / "none")
    assert "fleet-server broker probe" in preflight.check_broker_rules(elsewhere)[0]


def test_a_harmless_change_is_said_at_the_start(settings: ServerSettings) -> None:
    edit(settings.data / "broker" / "mosquitto.conf", "max_connections 20000", "max_connections 500")
    assert "max_connections" in preflight.check_broker_rules(settings)[0]
