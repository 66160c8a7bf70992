"""What must be true before the server's processes start, each said in one sentence when it is not."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from fleet_server.errors import FleetError
from fleet_server.settings import ServerSettings

_ANSWER_S = 5.0
_RETRY_S = 0.2


class PortTaken(FleetError):
    code = "port_taken"


class BrokerUnreachable(FleetError):
    code = "broker_unreachable"


def check_http_port(settings: ServerSettings) -> None:
    host, port = settings.http_host, settings.http_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(
                    f"port {port} on {host} is taken by another program: "
                    f"choose another with 'fleet-server init --data {settings.data} --http-port N'"
                ) from error
            raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror}") from error


def check_broker(settings: ServerSettings, wait_s: float) -> None:
    """Waits for it a while: on a machine that starts up, nobody promises an order."""
    give_up_at = time.monotonic() + wait_s
    while True:
        try:
            _shake_hands(settings)
        except (ssl.SSLCertVerificationError, FileNotFoundError) as error:
            place = f"{settings.mqtt_host}:{settings.mqtt_port}"
            raise BrokerUnreachable(f"the broker at {place} is not this installation's: {error}") from error
        except OSError as error:
            if time.monotonic() >= give_up_at:
                raise BrokerUnreachable(
                    f"no broker answers at {settings.mqtt_host}:{settings.mqtt_port} ({error.strerror or error}): "
                    f"start it with 'mosquitto -c {settings.data / 'broker' / 'mosquitto.conf'}'"
                ) from error
            time.sleep(_RETRY_S)
        else:
            return


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
    context = ssl.create_default_context(cafile=str(settings.tls_dir / "ca.crt"))
    context.load_cert_chain(settings.tls_dir / "svc-api-1.crt", settings.tls_dir / "svc-api-1.key")
    with (
        socket.create_connection((settings.mqtt_host, settings.mqtt_port), _ANSWER_S) as raw,
        context.wrap_socket(raw, server_hostname=settings.mqtt_host),
    ):
        pass
