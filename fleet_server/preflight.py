"""What must be true while the server's processes start, each said in one sentence when it is not."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from fleet_server.broker.drift import compare
from fleet_server.enrollment.ends import begin_of, end_of_services
from fleet_server.enrollment.tls_files import addresses_of, broker_configuration
from fleet_server.errors import FleetError
from fleet_server.settings import ServerSettings
from protocol import mqtt_packets as packets
from protocol.broker_rules import MAX_PACKET_BYTES

_ANSWER_S = 5.0
# Of what is wrong with the broker's rules, in one sentence.
MAX_TOLD = 5


class PortTaken(FleetError):
    code = "port_taken"


class ClockDoubtful(FleetError):
    """Terminals never set their clocks back: what a server with a wrong one has told them stays."""

    code = "clock_doubtful"


class BrokerUnreachable(FleetError):
    code = "broker_unreachable"


class BrokerTooWeak(FleetError):
    code = "broker_too_weak"


def check_clock(settings: ServerSettings, now: datetime) -> None:
    """Raises ``ClockDoubtful`` for a time before the issuing certificate, or after the ends of all own ones, which are
    renewed a month before that while the server runs.
    """
    said = f"the clock of this machine says {now:%Y-%m-%d %H:%M} UTC"
    begins_at = begin_of(settings.issuing_chain_file)
    if begins_at is not None and now < begins_at:
        raise ClockDoubtful(
            f"{said}, and the issuing certificate begins {begins_at:%Y-%m-%d %H:%M}: set the clock. If the certificate "
            "was made while the clock was ahead, make another with 'fleet-server rotate issuing'"
        )
    ended_at = end_of_services(settings)
    if ended_at is not None and now >= ended_at:
        raise ClockDoubtful(
            f"{said}, and the certificates of this server ended {ended_at:%Y-%m-%d %H:%M}: set the clock "
            f"if it is ahead; if it is right, run 'fleet-server init --data {settings.data}'"
        )


def check_http_ports(settings: ServerSettings) -> None:
    """Of the console and, where there is one, of the approval page."""
    option = f"choose another with 'fleet-server init --data {settings.data} --http-port N'"
    _check_port(settings.http_host, settings.http_port, option)
    if settings.approval_url:
        file = settings.server_dir / "fleet.toml"
        option = f"choose another by approval_port and approval_url in {file}"
        _check_port(settings.approval_host, settings.approval_port, option)


def _check_port(host: str, port: int, way_out: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(f"port {port} on {host} is taken by another program: {way_out}") from error
            raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror}") from error


def check_broker_rules(settings: ServerSettings) -> list[str]:
    """Remarks on what was changed by hand and does no harm. Raises ``BrokerTooWeak`` for what lets too much through."""
    folder = settings.data / "broker"
    if not folder.exists():
        return [f"{folder} is not there: what the broker keeps is asked by 'fleet-server broker probe'."]
    wanted = broker_configuration(folder, settings.tls_dir, addresses_of(settings))
    drift = compare(folder, wanted)
    way_out = f"write it anew with 'fleet-server init --data {settings.data}' and restart the broker"
    if drift.weaker:
        more = f" (and {len(drift.weaker) - MAX_TOLD} more)" if len(drift.weaker) > MAX_TOLD else ""
        told = "; ".join(drift.weaker[:MAX_TOLD])
        raise BrokerTooWeak(f"the broker's rules are weaker than needed: {told}{more}. Undo it, or {way_out}")
    if not drift.other:
        return []
    return [f"The broker's rules differ from those that were written: {one}." for one in drift.other[:MAX_TOLD]]


class Readiness:
    """First the broker, which is waited for a while: on a machine that starts up, nobody promises an order."""

    def __init__(self, settings: ServerSettings, wait_broker_s: float) -> None:
        self._settings = settings
        self._give_up_s = time.monotonic() + wait_broker_s
        self._has_broker = False

    def is_reached(self) -> bool:
        """Raises ``BrokerUnreachable`` for another's broker, or when the wait is over."""
        if not self._has_broker:
            self._has_broker = self._broker_answers()
        return self._has_broker and is_ready(self._settings)

    def _broker_answers(self) -> bool:
        place = f"{self._settings.mqtt_host}:{self._settings.mqtt_port}"
        try:
            _shake_hands(self._settings)
        except (ssl.SSLCertVerificationError, FileNotFoundError) as error:
            raise BrokerUnreachable(f"the broker at {place} is not this installation's: {error}") from error
        except OSError as error:
            if time.monotonic() < self._give_up_s:
                return False
            raise BrokerUnreachable(
                f"no broker answers at {place} ({error.strerror or error}): "
                f"start it with 'mosquitto -c {self._settings.data / 'broker' / 'mosquitto.conf'}'"
            ) from error
        _refuse_weak(self._settings, place)
        return True


def is_ready(settings: ServerSettings) -> bool:
    """Whether ``/readyz`` says so now."""
    secure = settings.url.startswith("https:")
    host = "127.0.0.1" if settings.http_host in {"0.0.0.0", "::"} else settings.http_host  # noqa: S104  # compared with
    if secure:
        context = ssl.create_default_context(cafile=str(settings.tls_dir / "ca.crt"))
        link: HTTPConnection = HTTPSConnection(host, settings.http_port, timeout=_ANSWER_S, context=context)
    else:
        link = HTTPConnection(host, settings.http_port, timeout=_ANSWER_S)
    try:
        link.request("GET", "/readyz")
        return link.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        link.close()


def _shake_hands(settings: ServerSettings) -> None:
    with _link(settings, _context(settings, with_certificate=True)):
        pass


def _refuse_weak(settings: ServerSettings, place: str) -> None:
    """Files may be right and the broker not have read them: it is asked itself."""
    way_out = "restart it, so that it reads the rules that were written, or ask it all with 'fleet-server broker probe'"
    old = _context(settings, with_certificate=True)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    # The handshake is enough: a session of this name would throw out the process that has it.
    with suppress(OSError), _link(settings, old):
        raise BrokerTooWeak(f"the broker at {place}: expected TLS 1.3 only, found that it takes TLS 1.2: {way_out}")
    with suppress(OSError), _link(settings, _context(settings, with_certificate=False)) as link:
        link.sendall(packets.connect("tillmedic-nobody", 30, max_packet_bytes=MAX_PACKET_BYTES))
        # CONNACK with reason 0.
        if link.recv(4)[::3] == b"\x20\x00":
            raise BrokerTooWeak(
                f"the broker at {place}: expected that it demands a certificate, "
                f"found that it lets in a client without one: {way_out}"
            )


def _context(settings: ServerSettings, *, with_certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(settings.tls_dir / "ca.crt"))
    if with_certificate:
        context.load_cert_chain(settings.tls_dir / "svc-api-1.crt", settings.tls_dir / "svc-api-1.key")
    return context


@contextmanager
def _link(settings: ServerSettings, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection((settings.mqtt_host, settings.mqtt_port), _ANSWER_S) as raw,
        context.wrap_socket(raw, server_hostname=settings.mqtt_host) as link,
    ):
        yield link
