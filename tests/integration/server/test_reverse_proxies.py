"""The shipped configurations of nginx and HAProxy, in the real programs, before a real server."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from fleet_server.approvals.page.files import content_security_policy
from simulators.broker import free_port
from tests.support.api_process import ApiProcess, ask, running_api_process, running_approval_page
from tests.support.reverse_proxy import APPROVAL_NAME, NAMES, ReverseProxy, running_proxy

pytestmark = pytest.mark.integration
# What the proxy says itself; what the server says brings all of its own.
LEAST = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with running_api_process(tmp_path_factory.mktemp("api"), https=True, http_requests_per_s_per_address=20) as running:
        yield running


@pytest.fixture(scope="module", params=NAMES)
def proxy(
    request: pytest.FixtureRequest, api: ApiProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReverseProxy]:
    """Before the console and before the approval page, under two names at one port."""
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    with (
        running_approval_page(api, folder, f"https://{APPROVAL_NAME}:{port}") as both,
        running_proxy(request.param, folder, both, port=port) as running,
    ):
        yield running


def asked(proxy: ReverseProxy, host: str, path: str, **headers: str) -> http.client.HTTPResponse:
    link = http.client.HTTPSConnection("localhost", proxy.port, timeout=30, context=proxy.tls)
    link.request("GET", path, headers={"Host": host, **headers})
    answer = link.getresponse()
    answer.read()
    link.close()
    return answer


def test_the_approval_page_has_a_name_of_its_own_and_nothing_in_common_with_the_console(proxy: ReverseProxy) -> None:
    page = asked(proxy, proxy.approval_host, "/")
    assert page.status == 200
    [policy] = page.headers.get_all("content-security-policy") or []
    # Its own: scripts by their hashes, as the page's process says it and nobody else.
    assert "sha256-" in policy
    assert policy == content_security_policy()
    assert page.headers.get_all("strict-transport-security") == ["max-age=63072000"]
    assert page.headers.get("set-cookie") is None
    for path in ("/sign-in", "/api/v1/devices", "/healthz", "/metrics"):
        assert asked(proxy, proxy.approval_host, path).status == 404, path
    console = asked(proxy, f"localhost:{proxy.port}", "/sign-in")
    assert console.status == 200
    assert "sha256-" not in (console.headers.get("content-security-policy") or "")
    assert asked(proxy, f"localhost:{proxy.port}", "/approve.js").status == 404


def test_another_name_at_the_same_port_is_not_the_approval_page(proxy: ReverseProxy) -> None:
    assert asked(proxy, f"{APPROVAL_NAME}:1", "/").status == 403, "the page itself knows its whole origin"
    for host in (f"evil.{proxy.approval_host}", f"{APPROVAL_NAME}.evil:{proxy.port}"):
        answer = asked(proxy, host, "/")
        assert "sha256-" not in (answer.headers.get("content-security-policy") or ""), host
    forged = asked(proxy, proxy.approval_host, "/waiting", **{"Sec-Fetch-Site": "same-site"})
    assert forged.status == 403


def secured(proxy: ReverseProxy, source: str = "127.0.0.1") -> ssl.SSLSocket:
    link = socket.create_connection(("127.0.0.1", proxy.port), timeout=30, source_address=(source, 0))
    return proxy.tls.wrap_socket(link, server_hostname="localhost")


def test_pages_and_answers_come_through_with_every_header_once(proxy: ReverseProxy, api: ApiProcess) -> None:
    for path, headers in (("/sign-in", {}), ("/api/v1/devices", {"Authorization": f"Bearer {api.token}"})):
        link = http.client.HTTPSConnection("localhost", proxy.port, timeout=30, context=proxy.tls)
        link.request("GET", path, headers=headers)
        answer = link.getresponse()
        answer.read()
        link.close()
        assert answer.status == 200
        for name in ("content-security-policy", "x-content-type-options", "referrer-policy", "cache-control"):
            assert len(answer.headers.get_all(name) or []) == 1, name
        assert answer.headers.get_all("strict-transport-security") == ["max-age=63072000"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_older_than_1_2_is_refused(proxy: ReverseProxy) -> None:
    for version, is_taken in (
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as link:
            if is_taken:
                context.wrap_socket(link).close()
            else:
                with pytest.raises((ssl.SSLError, ConnectionResetError)):
                    context.wrap_socket(link)


def test_headers_that_do_not_end_are_given_ten_seconds(proxy: ReverseProxy) -> None:
    with secured(proxy) as link:
        began_s = time.monotonic()
        link.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        came = b""
        while part := link.recv(65_536):
            came += part
        assert 8 < time.monotonic() - began_s < 20


def test_one_address_holds_a_hundred_connections(proxy: ReverseProxy) -> None:
    kept = []
    try:
        for _ in range(110):
            link = secured(proxy, "127.0.0.30")
            # In its middle: nginx counts requests that have begun to be read.
            link.sendall(b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
            kept.append(link)
    except (ssl.SSLError, OSError):
        # HAProxy ends a connection before a word is said.
        assert 95 <= len(kept) <= 105
    else:
        assert kept[-1].recv(4096).startswith(b"HTTP/1.1 429")
    finally:
        for link in kept:
            link.close()


def test_an_address_is_known_by_its_proxy_and_not_by_its_own_word(proxy: ReverseProxy) -> None:
    """The server's own limit of twenty requests a second: who claims to be somebody else each time is still one."""
    statuses = []
    for number in range(160):
        with secured(proxy, "127.0.0.40") as link:
            said = f"GET /healthz HTTP/1.0\r\nHost: localhost\r\nX-Forwarded-For: 10.0.0.{number}\r\n\r\n"
            link.sendall(said.encode())
            statuses.append(link.recv(65_536).split(b" ")[1])
    assert b"429" in statuses
    assert ask(proxy.port, "/healthz", proxy.tls)[0] == 200


def test_event_streams_are_handed_on_as_they_come(proxy: ReverseProxy, api: ApiProcess) -> None:
    with secured(proxy) as link:
        said = f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.token}\r\n\r\n"
        link.sendall(said.encode())
        came = b""
        began_s = time.monotonic()
        # The first beat of a stream without events.
        while b": ping" not in came:
            came += link.recv(65_536)
            assert time.monotonic() - began_s < 30
    assert came.startswith(b"HTTP/1.1 200")


def test_what_the_proxy_says_itself_carries_headers_too(proxy: ReverseProxy) -> None:
    with secured(proxy) as link:
        link.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert link.recv(65_536).startswith(b"HTTP/1.1 200"), "this machine may read its counters"
    with secured(proxy, "127.0.0.50") as link:
        link.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        head = link.recv(65_536).partition(b"\r\n\r\n")[0].decode().lower()
    assert " 403" in head.splitlines()[0]
    for name, value in LEAST.items():
        assert value in dict(line.split(": ", 1) for line in head.splitlines()[1:]).get(name, ""), name
