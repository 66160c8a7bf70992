"""The server's own connections to the broker: MQTT 5 over TLS 1.3 with a client certificate for each service.

``ServerLink`` runs a client of paho in a thread of its own, for processes that mostly publish: no Nagle, no session
kept by the broker, bounded queues. Ingest speaks MQTT itself (`fleet_server.ingest.door`).
"""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from fleet_server.settings import ServerSettings
from protocol.mqtt_packets import Publish

KEEPALIVE_S = 30
# What may wait for the broker in one process before publishing is refused.
MAX_QUEUED = 10_000
MAX_INFLIGHT = 1000
_log = structlog.get_logger(__name__)


# One message, with what is needed to acknowledge it later on the same connection.
Received = Publish
OnMessage = Callable[[Received], None]


def service_context(settings: ServerSettings, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(settings.tls_dir / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(settings.tls_dir / f"{name}.crt", settings.tls_dir / f"{name}.key")
    return context


def _service_client(settings: ServerSettings, name: str, *, client_id: str) -> Client:
    """A client for the certificate ``name``; two processes with one certificate need two client ids."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5)
    client.tls_set_context(service_context(settings, name))
    client.max_inflight_messages_set(MAX_INFLIGHT)
    client.max_queued_messages_set(MAX_QUEUED)
    client.on_socket_open = _without_nagle
    return client


def _connect_options() -> dict[str, Any]:
    """Nothing is kept by the broker for a service: what it missed is sent again or read from the database."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # untyped in paho
    properties.SessionExpiryInterval = 0
    properties.ReceiveMaximum = 65535
    return {"clean_start": True, "properties": properties, "keepalive": KEEPALIVE_S}


@lru_cache(maxsize=16)
def _publish_properties(content_type: str) -> Properties:
    """Shared between messages: making one costs more than all the rest of a publish."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # untyped in paho
    properties.ContentType = content_type
    return properties


def _received(message: MQTTMessage) -> Received:
    content_type = getattr(message.properties, "ContentType", None) if message.properties is not None else None
    return Received(_topic(message), bytes(message.payload), content_type, message.mid, message.qos)


class ServerLink:
    """Publishes, and hands received messages to ``on_message`` in the link's thread. Connects again by itself.

    Invariant: after every connect all of ``subscriptions`` are asked for again.
    """

    def __init__(
        self, settings: ServerSettings, name: str, on_message: OnMessage, subscriptions: Sequence[tuple[str, int]] = ()
    ) -> None:
        self._settings = settings
        self._on_message = on_message
        self._subscriptions = list(subscriptions)
        self._client = _service_client(settings, name, client_id=f"{name}-{random.getrandbits(48):012x}")
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._message
        # Processes that lost the same broker must not come back in step.
        self._client.reconnect_delay_set(1, random.randint(5, 15))  # noqa: S311 - jitter
        self.refused = 0

    def start(self) -> None:
        """Returns at once; ``is_connected`` tells when the broker has answered."""
        self._client.connect_async(self._settings.mqtt_host, self._settings.mqtt_port, **_connect_options())
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected()

    def publish(self, topic: str, payload: bytes, qos: int, content_type: str = "application/json") -> bool:
        """Whether the message was taken. What is lost is sent again by whoever keeps it in the database."""
        if not self._client.is_connected():
            self.refused += 1
            return False
        answer = self._client.publish(topic, payload, qos, properties=_publish_properties(content_type))
        if answer.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.refused += 1
            return False
        return True

    def _connected(
        self, client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            _log.warning("broker refused the connection", reason=str(reason))
            return
        if self._subscriptions:
            # What this process says itself it knows already.
            client.subscribe([(topic, SubscribeOptions(qos=qos, noLocal=True)) for topic, qos in self._subscriptions])

    def _disconnected(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            _log.warning("connection to the broker was lost", reason=str(reason))

    def _message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            self._on_message(_received(message))
        except Exception:  # noqa: BLE001 - an error in one message must not end the connection's thread
            _log.exception("a message could not be handled", topic=message.topic[:120])


def _topic(message: MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:
        # The broker refuses such topics; another one might not.
        return ""


def _without_nagle(_client: Client, _data: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
