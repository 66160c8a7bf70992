from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fleet_server import preflight
from fleet_server.commands.run import _renew_or_say
from fleet_server.enrollment.authority import Authority
from fleet_server.enrollment.private_files import write_private
from fleet_server.enrollment.settings_file import Wishes, ensure_settings
from fleet_server.enrollment.tls_files import addresses_of, renew_own_certificates
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings
from tests.support.broker import Broker, free_port, running_broker
from tests.support.enrolling import prepare_installation
from tests.support.issuer import local_issuer


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("preflight") / "server") as running:
        yield running


def settings_of(broker: Broker) -> ServerSettings:
    data = broker.tls_dir.parents[1]
    return ensure_settings(data, Wishes(mqtt_port=broker.port, http_port=free_port()))


@pytest.mark.integration
def test_the_installations_own_broker_passes(broker: Broker) -> None:
    readiness = preflight.Readiness(settings_of(broker), wait_broker_s=0)
    assert not readiness.is_reached(), "no server answers"


@pytest.mark.integration
def test_no_broker_is_said_with_the_command_that_starts_it(broker: Broker) -> None:
    nobody = replace(settings_of(broker), mqtt_port=free_port())
    with pytest.raises(preflight.BrokerUnreachable, match=r"Connection refused.*mosquitto -c"):
        preflight.Readiness(nobody, wait_broker_s=0).is_reached()


@pytest.mark.integration
def test_a_broker_that_comes_late_is_waited_for(broker: Broker) -> None:
    nobody = replace(settings_of(broker), mqtt_port=free_port())
    assert not preflight.Readiness(nobody, wait_broker_s=60).is_reached()


@pytest.mark.integration
def test_somebody_elses_broker_is_told_apart(broker: Broker, tmp_path: Path) -> None:
    settings = replace(settings_of(broker), data=tmp_path)
    other = Authority.make(utc_now())
    settings.tls_dir.mkdir(parents=True)
    issued = other.issue_service("svc-api-1", utc_now())
    write_private(settings.tls_dir / "ca.crt", other.certificate_pem)
    write_private(settings.tls_dir / "svc-api-1.crt", issued.certificate_pem)
    write_private(settings.tls_dir / "svc-api-1.key", issued.key_pem)
    with pytest.raises(preflight.BrokerUnreachable, match="not this installation's"):
        preflight.Readiness(settings, wait_broker_s=0).is_reached()


WEAKER = {
    "found that it takes TLS 1.2": [("tls_version tlsv1.3", "tls_version tlsv1.2")],
    "found that it lets in a client without one": [
        ("require_certificate true", "require_certificate false"),
        ("use_identity_as_username true\nuse_username_as_clientid true\n", ""),
        ("allow_anonymous false", "allow_anonymous true"),
    ],
}


@pytest.mark.integration
@pytest.mark.parametrize(("sentence", "edits"), WEAKER.items(), ids=WEAKER)
def test_a_running_broker_is_asked_itself(broker: Broker, sentence: str, edits: list[tuple[str, str]]) -> None:
    """Its files may have been written since it was started."""
    before = text = broker.configuration.read_text("utf-8")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    broker.configuration.write_text(text, "utf-8")
    broker.restart()
    broker.configuration.write_text(before, "utf-8")
    try:
        with pytest.raises(preflight.BrokerTooWeak, match=sentence):
            preflight.Readiness(settings_of(broker), wait_broker_s=0).is_reached()
    finally:
        broker.restart()
    preflight.Readiness(settings_of(broker), wait_broker_s=0).is_reached()


def test_a_taken_port_is_said_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ensure_settings(tmp_path, Wishes(http_port=taken.getsockname()[1]))
        with pytest.raises(preflight.PortTaken, match=r"is taken by another program.*--http-port"):
            preflight.check_http_ports(settings)
    preflight.check_http_ports(settings)


def test_a_taken_port_of_the_approval_page_is_said_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        console, port = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        plain = replace(ensure_settings(tmp_path, Wishes(http_port=console)), approval_port=port)
        preflight.check_http_ports(plain)
        with pytest.raises(preflight.PortTaken, match=r"is taken by another program.*approval_port"):
            preflight.check_http_ports(replace(plain, approval_url=f"http://127.0.0.1:{port}"))


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_ready_is_what_readyz_says(tmp_path: Path, status: int, ready: bool) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        settings = ensure_settings(tmp_path, Wishes(http_port=server.server_port))
        assert preflight.is_ready(settings) is ready
        thread.join()
    assert not preflight.is_ready(settings)


@pytest.fixture
def installed(tmp_path: Path) -> ServerSettings:
    settings = ensure_settings(tmp_path, Wishes(http_port=free_port()))
    prepare_installation(settings)
    issuer = local_issuer(settings, utc_now)
    renew_own_certificates(issuer, settings.tls_dir, addresses_of(settings), utc_now())
    issuer.close()
    return settings


def test_a_clock_that_is_years_off_stops_the_start_and_a_right_one_does_not(installed: ServerSettings) -> None:
    for days in (0, 1, 89):
        preflight.check_clock(installed, utc_now() + timedelta(days=days))
    with pytest.raises(preflight.ClockDoubtful, match=r"the issuing certificate begins .*: set the clock"):
        preflight.check_clock(installed, datetime(1970, 1, 1, tzinfo=UTC))
    for days in (91, 3000):
        with pytest.raises(preflight.ClockDoubtful, match=r"the certificates of this server ended .*fleet-server init"):
            preflight.check_clock(installed, utc_now() + timedelta(days=days))


def test_an_installation_without_certificates_yet_has_no_quarrel_with_the_clock(tmp_path: Path) -> None:
    preflight.check_clock(ensure_settings(tmp_path, Wishes()), datetime(1970, 1, 1, tzinfo=UTC))


def test_a_server_that_runs_goes_on_when_nothing_can_be_renewed(
    installed: ServerSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet_server.kit.times.utc_now", lambda: utc_now() + timedelta(days=80))
    installed.issuing_chain_file.with_name("issuing.key").unlink()
    assert not _renew_or_say(installed)
    assert "Certificates could not be renewed, trying again in an hour" in capsys.readouterr().out
