"""The link's side of TLS, without a broker."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from device_agent.adapters.carried import Carried
from device_agent.adapters.mqtt_link import Broker, tls_context
from fleet_server.enrollment.authority import Authority
from fleet_server.kit.times import utc_now
from tests.support.broker import store


def test_a_socket_whose_handshake_fails_is_closed_at_once(tmp_path: Path) -> None:
    authority = Authority.make(utc_now())
    files = store(tmp_path / "link", authority, authority.issue_link("gw-12345678", utc_now()))
    context = tls_context(Broker("127.0.0.1", 1, files.ca, files.certificate, files.key))
    near, far = socket.socketpair()
    far.close()
    wrapped = context.wrap_socket(near, server_hostname="127.0.0.1", do_handshake_on_connect=False)
    with pytest.raises((OSError, ssl.SSLError)):
        wrapped.do_handshake()
    assert wrapped.fileno() == -1


def test_what_a_handshake_that_failed_has_carried_is_counted_also_once_it_is_closed(tmp_path: Path) -> None:
    authority = Authority.make(utc_now())
    files = store(tmp_path / "link", authority, authority.issue_link("gw-12345678", utc_now()))
    carried = Carried()
    context = tls_context(Broker("127.0.0.1", 1, files.ca, files.certificate, files.key), carried)
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        wrapped = context.wrap_socket(near, server_hostname="127.0.0.1", do_handshake_on_connect=False)
        with far:
            far.sendall(b"no TLS here")
            with pytest.raises((OSError, ssl.SSLError)):
                wrapped.do_handshake()
    assert wrapped.fileno() == -1
    # A greeting of TLS 1.3 with its certificates' names and keys, and the packets that opened the connection.
    assert 300 < carried.total() < 5000
