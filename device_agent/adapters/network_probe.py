"""Times the way to a host in three parts: name resolution, TCP connection, TLS handshake.

Every part has its own time limit. The resolver of the C library cannot be interrupted: it runs on a thread of its own,
of which at most `MAX_RESOLVING` may be left waiting; beyond that a name counts as not resolved.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from device_agent.drivers.network_target import NetworkTarget
from device_agent.drivers.terminal.messages import NetProbe, NetStage
from device_agent.errors import ActionFailed

DNS_TIMEOUT_S = 5.0
TCP_TIMEOUT_S = 10.0
TLS_TIMEOUT_S = 10.0
MAX_RESOLVING = 4
_MAX_DETAIL_CHARS = 110

_resolving = threading.BoundedSemaphore(MAX_RESOLVING)


@dataclass(frozen=True, slots=True)
class _Address:
    family: socket.AddressFamily
    host: str
    port: int


def probe(
    host: str,
    port: int,
    *,
    ca: Path | None = None,
    dns_name: str = "",
    dns_timeout_s: float = DNS_TIMEOUT_S,
    tcp_timeout_s: float = TCP_TIMEOUT_S,
    tls_timeout_s: float = TLS_TIMEOUT_S,
) -> NetProbe:
    """Opens one connection and closes it again; sends nothing but the handshake.

    ``dns_name``: the name whose resolution is judged, when it is not the host's own; the host is tried all the same.
    """
    own, address = _named(host, port, dns_timeout_s)
    dns = _named(dns_name, port, dns_timeout_s)[0] if dns_name and own.ok else own
    if address is None:
        return NetProbe(dns)
    begun = time.perf_counter()
    connection = socket.socket(address.family, socket.SOCK_STREAM)
    with connection:
        connection.settimeout(tcp_timeout_s)
        try:
            connection.connect((address.host, address.port))
        except OSError as error:
            return NetProbe(dns, NetStage(ok=False, ms=_ms_since(begun), detail=_words(error)))
        tcp = NetStage(ok=True, ms=_ms_since(begun))
        return NetProbe(dns, tcp, _handshake(connection, host, ca, tls_timeout_s))


def probe_target(target: NetworkTarget, host: str, port: int) -> NetProbe:
    """``host`` and ``port`` as asked for; empty and 0 stand for the configured ones."""
    wanted = host or target.host
    if not wanted:
        raise ActionFailed("not_configured", "host: neither given nor configured")
    # A host that somebody asks about is resolved by its own name.
    dns_name = "" if host else target.dns_name
    return probe(wanted, port or target.port, ca=target.ca, dns_name=dns_name)


def _handshake(connection: socket.socket, host: str, ca: Path | None, timeout_s: float) -> NetStage:
    begun = time.perf_counter()
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        connection.settimeout(timeout_s)
        with context.wrap_socket(connection, server_hostname=host) as secured:
            return NetStage(ok=True, ms=_ms_since(begun), detail=secured.version() or "")
    except OSError as error:
        return NetStage(ok=False, ms=_ms_since(begun), detail=_words(error))


def _named(name: str, port: int, timeout_s: float) -> tuple[NetStage, _Address | None]:
    begun = time.perf_counter()
    answer = _resolve(name, port, timeout_s)
    ms = _ms_since(begun)
    if isinstance(answer, str):
        return NetStage(ok=False, ms=ms, detail=answer[:_MAX_DETAIL_CHARS]), None
    return NetStage(ok=True, ms=ms, detail=answer.host[:_MAX_DETAIL_CHARS]), answer


def _resolve(host: str, port: int, timeout_s: float) -> _Address | str:
    """The first answer, or why there is none."""
    answers: queue.SimpleQueue[_Address | str] = queue.SimpleQueue()
    slots = _resolving

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, _, _, _, (host_address, host_port, *_) = found[0]
            answers.put(_Address(family, str(host_address), int(host_port)))
        except (OSError, UnicodeError) as error:
            answers.put(_words(error))
        finally:
            slots.release()

    if not slots.acquire(blocking=False):
        return "resolver hangs: earlier names are not resolved yet"
    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        return answers.get(timeout=timeout_s)
    except queue.Empty:
        return f"no answer from the resolver in {timeout_s:g} s"


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"[:_MAX_DETAIL_CHARS]
    words = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
    return str(words)[:_MAX_DETAIL_CHARS]


def _ms_since(begun: float) -> float:
    return round((time.perf_counter() - begun) * 1000, 2)
