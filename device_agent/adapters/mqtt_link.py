"""The link to the broker: MQTT 5 over TLS 1.3 with a client certificate. Connects when told to, and says what happened.

Rules: the agent's session outlives connections (`clean_start` false, seven days), so what is sent down meanwhile waits;
each connection is a client of its own with its own will, so nothing of an older one is sent again behind the outbox's
back; callbacks only translate and enqueue. A clean stop waits until the goodbye is acknowledged, then closes without
resetting what is still on its way. When to connect again is the core's part.

A device whose clock says 1970 must reach the broker all the same. A certificate's time is therefore held against the
trusted clock, which only lags: what is refused has ended for certain.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device_agent.adapters.carried import Carried
from device_agent.core.effects import Arrived, Connect, LinkDown, LinkUp, Publish
from protocol.identifiers import LinkId
from protocol.topics import down_filter, parse_down, up

SESSION_EXPIRY_S: Final = 7 * 24 * 3600
CONNECT_TIMEOUT_S: Final = 10.0
GOODBYE_TIMEOUT_S: Final = 5.0
LINGER_S: Final = 2.0
# Larger than any payload of the protocol with its topic; the broker's own limit is the same order.
MAX_PACKET_BYTES: Final = 128 * 1024
_OWN_LINK_ERRORS: Final = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})
_KEEPALIVE_TIMEOUT: Final = 0x8D
# X509_V_FLAGNO_CHECK_TIME of OpenSSL's x509_vfy.h, which Python does not name.
NO_CHECK_TIME: Final = 0x200000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Broker:
    """``host`` is also the name that the broker's certificate must carry. ``newest``: where certificate and key lie
    now; they are renewed while the agent runs.
    """

    host: str
    port: int
    ca: Path
    cert: Path
    key: Path
    newest: Callable[[], tuple[Path, Path]] | None = None


class MqttLink:
    def __init__(self, link: LinkId, broker: Broker, post: Callable[[LinkUp | LinkDown | Arrived], None]) -> None:
        self._link = link
        self._broker = broker
        self._post = post
        self._client: mqtt.Client | None = None
        self._closing = threading.Event()
        self._closed = threading.Event()
        self.unknown_topics = 0
        self.unsent = 0
        # Connections in a row that ended between TLS and the broker's first word.
        self.refused = 0
        self._is_let_in = False
        # Bytes of all connections of this process.
        self.carried = Carried()

    def connect(self, order: Connect) -> None:
        """Opens a connection in the background; answers with `LinkUp` or `LinkDown`."""
        threading.Thread(target=self._open, args=(order,), name="link-open", daemon=True).start()

    def publish(self, message: Publish) -> None:
        """Hands over; without a connection it is dropped (counted): the outbox sends records again."""
        client = self._client
        if client is None or not client.is_connected():
            self.unsent += 1
            return
        topic = up(self._link, message.kind)
        client.publish(topic, message.payload, message.qos, properties=_content(message.content_type))

    def abort(self, reason: str) -> None:
        """Gives up a connection that leads nowhere; its will speaks for it."""
        client, self._client = self._client, None
        if client is not None:
            threading.Thread(target=client.disconnect, name="link-abort", daemon=True).start()
        self._post(LinkDown(reason, is_silent=True))

    def renew(self) -> None:
        """Connects anew, with the certificate that is there now."""
        client, self._client = self._client, None
        if client is not None:
            threading.Thread(target=client.disconnect, name="link-renew", daemon=True).start()
            self._post(LinkDown("certificate renewed", own_link_down=True))

    def close(self, goodbye: Publish | None) -> None:
        client = self._client
        if client is None:
            return
        if goodbye is not None and client.is_connected():
            topic = up(self._link, goodbye.kind)
            info = client.publish(topic, goodbye.payload, 1, properties=_content(goodbye.content_type))
            # A broker that does not answer in time sends the will instead.
            with suppress(ValueError, RuntimeError):
                info.wait_for_publish(GOODBYE_TIMEOUT_S)
        self._closing.set()
        client.disconnect()
        self._closed.wait(LINGER_S + 1)
        client.loop_stop()

    def _open(self, order: Connect) -> None:
        try:
            client = self._made(order)
            self._client = client
            self._is_let_in = False
            client.connect(
                self._broker.host,
                self._broker.port,
                keepalive=order.keepalive_s,
                clean_start=False,
                properties=_session_properties(),
            )
        except (OSError, ValueError) as error:
            # A broker that this device does not believe has not refused it.
            self.refused += isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError)
            own = isinstance(error, socket.gaierror) or getattr(error, "errno", None) in _OWN_LINK_ERRORS
            self._client = None
            _log.info("no connection to %s:%d: %s", self._broker.host, self._broker.port, _in_words(error))
            self._post(LinkDown(_in_words(error), own_link_down=own))
            return
        client.loop_start()

    def _made(self, order: Connect) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._link,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.tls_set_context(tls_context(self._broker, self.carried))
        topic = up(self._link, order.will.kind)
        client.will_set(
            topic, order.will.payload, 1, properties=_content(order.will.content_type, PacketTypes.WILLMESSAGE)
        )
        client.on_socket_open = partial(_opened, order.trusted_ms)
        client.on_socket_close = self._on_socket_close
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _props: object
    ) -> None:
        if client is not self._client:
            return
        if reason.is_failure:
            _log.warning("broker refused the connection: %s", reason)
            return
        self.refused, self._is_let_in = 0, True
        # Packets keep their order: the broker has the subscription before it sees the hello.
        client.subscribe(down_filter(self._link), qos=1)
        _log.info("connected to %s:%d", self._broker.host, self._broker.port)
        self._post(LinkUp())

    def _on_disconnect(
        self, client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _props: object
    ) -> None:
        self._closed.set()
        if client is self._client and not self._closing.is_set():
            self._client = None
            self.refused += not self._is_let_in
            _log.info("connection lost: %s", reason)
            self._post(LinkDown(str(reason), is_silent=reason.value == _KEEPALIVE_TIMEOUT))

    def _on_message(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        kind = parse_down(message.topic)
        if client is not self._client or kind is None:
            self.unknown_topics += 1
            return
        content_type = getattr(message.properties, "ContentType", None)
        self._post(Arrived(kind, bytes(message.payload), content_type))

    def _on_socket_close(self, _client: mqtt.Client, _data: object, sock: Any) -> None:
        """Says that nothing more will come and reads what is still arriving: a reset would overtake the goodbye."""
        if not self._closing.is_set():
            return
        with suppress(OSError, ValueError):
            sock.settimeout(LINGER_S)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass


class _Socket(ssl.SSLSocket):
    """Closed when the handshake fails: paho lets go of it then, and leaves the rest to the collector."""

    carried: Carried | None = None

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as its base
        if self.carried is not None:
            self.carried.add(self)
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self.carried is not None:
            self.carried.drop(self)
        super().close()


def tls_context(broker: Broker, carried: Carried | None = None) -> ssl.SSLContext:
    """TLS 1.3 only, the broker's certificate by our own CA alone, whatever this machine's clock says. ``carried``:
    where what its connections carry is counted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = type("_CountedSocket", (_Socket,), {"carried": carried})
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    context.load_verify_locations(broker.ca)
    cert, key = (broker.cert, broker.key) if broker.newest is None else broker.newest()
    context.load_cert_chain(cert, key)
    return context


def _session_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho does not annotate it
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.MaximumPacketSize = MAX_PACKET_BYTES
    return properties


def _content(content_type: str, packet: int = PacketTypes.PUBLISH) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]  # paho does not annotate it
    properties.ContentType = content_type
    return properties


def _opened(trusted_ms: int, _client: mqtt.Client, _data: object, sock: Any) -> None:
    """After the handshake and before the first packet. Raises `ssl.SSLCertVerificationError`."""
    ended = sock.getpeercert().get("notAfter", "")
    if ended and ssl.cert_time_to_seconds(ended) * 1000 < trusted_ms:
        raise ssl.SSLCertVerificationError(f"the broker's certificate ended {ended}")
    # Nagle's wait for more bytes costs 44 ms a round trip; these messages are whole.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
