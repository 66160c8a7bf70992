"""The way to the server on first contact, with somebody in the middle: nothing of the code reaches him."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from device_agent.adapters.enrolment_door import EnrolmentFailed, Server
from device_agent.enrolling import enroll
from device_agent.errors import ConfigurationInvalid
from fleet_server.enrollment.authority import Authority, Root
from fleet_server.kit.times import utc_now
from protocol.enrolment import Code, fingerprint

pytestmark = pytest.mark.integration
SECRET = "0123456789ABCDEF"


@dataclass
class Peer:
    """Whoever answers at the address: shows one authority, has a certificate of another, writes down what it hears."""

    shown: bytes
    heard: list[bytes] = field(default_factory=list)
    url: str = ""


@contextmanager
def answering(folder: Path, certificate_of: Authority, shown: bytes, now: datetime | None = None) -> Iterator[Peer]:
    peer = Peer(shown)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, peer.shown)

        def do_POST(self) -> None:
            peer.heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(403, b'{"code": "enrolment_code_unknown", "detail": "as a server says it"}')

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    issued = certificate_of.issue_server(["127.0.0.1"], now or utc_now())
    (folder / "s.crt").write_bytes(issued.certificate_pem)
    (folder / "s.key").write_bytes(issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "s.crt", folder / "s.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    peer.url = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield peer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def code_of(authority: Authority) -> str:
    return str(Code(SECRET, fingerprint(authority.root.public_bytes(Encoding.DER))))


def try_it(peer: Peer, code: str, folder: Path, **how: Any) -> str:
    with pytest.raises(EnrolmentFailed) as refused:
        enroll(peer.url, code, folder / "bundle", "SN1", "A920", wait_s=0, has_public_name=False, **how)
    return refused.value.reason


@pytest.fixture
def ours() -> Authority:
    return Authority.make(utc_now())


def test_the_server_of_the_code_hears_the_secret(ours: Authority, tmp_path: Path) -> None:
    with answering(tmp_path, ours, ours.certificate_pem) as peer:
        assert try_it(peer, code_of(ours), tmp_path) == "enrolment_code_unknown"
    assert len(peer.heard) == 1
    assert SECRET.encode() in peer.heard[0]
    assert b"PRIVATE" not in peer.heard[0]


def test_somebody_in_the_middle_with_an_authority_of_his_own_hears_nothing(ours: Authority, tmp_path: Path) -> None:
    his = Authority.make(utc_now())
    with answering(tmp_path, his, his.certificate_pem) as peer:
        assert try_it(peer, code_of(ours), tmp_path) == "server_not_trusted"
    assert peer.heard == []


def test_somebody_who_shows_our_authority_and_has_not_its_key_hears_nothing(ours: Authority, tmp_path: Path) -> None:
    his = Authority.make(utc_now())
    with answering(tmp_path, his, ours.certificate_pem) as peer:
        assert try_it(peer, code_of(ours), tmp_path) == "server_not_trusted"
    assert peer.heard == []


def test_a_device_of_ours_cannot_play_the_server(ours: Authority, tmp_path: Path) -> None:
    """A client's certificate leads to our authority as well."""

    class Stolen(Authority):
        def issue_server(self, hosts: Any, now: Any) -> Any:
            del hosts
            return self.issue_link("d-0123456789abcdef", now)

    with answering(tmp_path, Stolen(ours.certificate, ours.key, ours.root), ours.certificate_pem) as peer:
        assert try_it(peer, code_of(ours), tmp_path) == "server_not_trusted"
    assert peer.heard == []


@pytest.mark.parametrize("url", ["http://192.0.2.1", "ftp://127.0.0.1", "127.0.0.1:8443", "https://"])
def test_the_secret_never_goes_over_plain_http(ours: Authority, tmp_path: Path, url: str) -> None:
    with pytest.raises(EnrolmentFailed, match="expected https"):
        enroll(url, code_of(ours), tmp_path / "b", "SN1", "A920", wait_s=0, has_public_name=False)


@pytest.mark.parametrize("code", ["", "ABC", "U" * 40, "0" * 41])
def test_a_code_that_is_none_is_refused_before_anything_is_asked(tmp_path: Path, code: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="40 letters and digits"):
        enroll("https://127.0.0.1:1", code, tmp_path / "b", "SN1", "A920", wait_s=0, has_public_name=False)


def test_an_identity_that_is_there_is_not_overwritten(ours: Authority, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "enrolment.json").write_text("{}")
    with pytest.raises(ConfigurationInvalid, match="holds an identity already"):
        enroll("https://127.0.0.1:1", code_of(ours), tmp_path / "b", "SN1", "A920", wait_s=0, has_public_name=False)


@pytest.mark.parametrize("days", [-3000, 3000])
def test_a_renewal_is_asked_for_whatever_this_machines_clock_says(ours: Authority, tmp_path: Path, days: int) -> None:
    """The server's certificate is years old, or begins in years: as one of today is for a clock that is as far off."""
    when = utc_now() + timedelta(days=days)
    at_that_time = Root.make(when).make_issuing(when)
    with answering(tmp_path, at_that_time, at_that_time.certificate_pem, when) as peer:
        ca_pem = at_that_time.certificate_pem.decode()
        server = Server(peer.url, ca_pem, has_public_name=True, hears_no_secret=True)
        assert server.ask("POST", "/enrol/v1/renewals", b"{}")[0] == 403
        # A secret goes by a public name's certificate only while that is good.
        with pytest.raises(EnrolmentFailed, match=r"expired|not yet valid"):
            Server(peer.url, ca_pem, has_public_name=True).ask("POST", "/enrol/v1/requests", b"{}")
        foreign = Server(peer.url, ours.certificate_pem.decode(), has_public_name=True, hears_no_secret=True)
        with pytest.raises(EnrolmentFailed, match="does not show a certificate"):
            foreign.ask("POST", "/enrol/v1/renewals", b"{}")
