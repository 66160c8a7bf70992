"""The connection of one ingest worker, driven by the worker's own thread: reading stops while it commits.

That bounds memory whatever the broker does with its in-flight limit (2.0 of mosquitto overruns it): what is not read
stays in the broker. A new client is made for every connection, so that nothing of the last one is sent again.

Invariant: a message is answered to the broker only on the connection it came on.
"""

from __future__ import annotations

import os
import random
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from fleet_server.ingest.answers import Publication
from fleet_server.mqtt import Received, connect_options, publish_properties, received, service_client
from fleet_server.settings import ServerSettings
from protocol.topics import Up, shared_up_filter, shared_watch_filter

# The sequence of one flush: what is there, but no more than this.
MAX_MESSAGES = 500
MAX_READING_S = 0.02
_SUBSCRIBED = (Up.HELLO, Up.CAPABILITIES, Up.URGENT, Up.BULK, Up.PRESENCE)
_RETRY_FIRST_S = 0.5
_RETRY_CAP_S = 15.0
_CONNECT_TIMEOUT_S = 5.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """A message and the connection it came on."""

    message: Received
    connection: int


class Door:
    def __init__(self, settings: ServerSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._client: Client | None = None
        self._connection = 0
        self._inbox: list[Taken] = []
        self._failures = 0
        self._retry_at_s = 0.0
        self._subscribed = False
        self.dropped = 0

    @property
    def is_open(self) -> bool:
        """Whether messages reach this worker."""
        return self._client is not None and self._client.is_connected() and self._subscribed

    def take(self, wait_s: float) -> list[Taken]:
        """What has arrived, after waiting at most ``wait_s`` for a first message. Connects when there is need."""
        if self._client is None:
            self._connect(wait_s)
            return []
        if not self._wait(self._client, wait_s):
            return []
        stop_s = time.monotonic() + MAX_READING_S
        while len(self._inbox) < MAX_MESSAGES and time.monotonic() < stop_s:
            before = len(self._inbox)
            if not self._held(self._client.loop_read()):
                break
            if len(self._inbox) == before and not self._is_readable(self._client):
                break
        taken, self._inbox = self._inbox, []
        return taken

    def publish(self, messages: Sequence[Publication]) -> None:
        """Whatever is lost here is sent again: acknowledgements with the next batch, the rest by its own timers."""
        for one in messages:
            if self._client is None or not self._client.is_connected():
                self.dropped += 1
                continue
            properties = publish_properties(one.content_type)
            answer = self._client.publish(one.topic, one.payload, one.qos, properties=properties)
            if answer.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN}:
                self.dropped += 1

    def acknowledge(self, taken: Sequence[Taken]) -> None:
        """To the broker, so that it sends more. It proves nothing to the device."""
        for one in taken:
            if self._client is not None and one.connection == self._connection and one.message.qos:
                self._client.ack(one.message.mid, one.message.qos)

    def idle(self, wait_s: float) -> None:
        """Waits without reading, keeping the connection alive as long as the broker's patience lasts."""
        time.sleep(wait_s)
        if self._client is not None:
            self._held(self._client.loop_misc())

    def close(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._leave()

    def _connect(self, wait_s: float) -> None:
        now_s = time.monotonic()
        if now_s < self._retry_at_s:
            time.sleep(min(wait_s, self._retry_at_s - now_s))
            return
        client = service_client(
            self._settings, self._name, client_id=f"{self._name}-{os.getpid()}-{self._connection}", manual_ack=True
        )
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.on_message = self._on_message
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        self._connection += 1
        try:
            client.connect(self._settings.mqtt_host, self._settings.mqtt_port, **connect_options())
        except OSError as error:
            _log.warning("broker cannot be reached", error=str(error), failures=self._failures)
            self._back_off()
            return
        self._client = client

    def _back_off(self) -> None:
        ceiling_s = min(_RETRY_CAP_S, _RETRY_FIRST_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self._retry_at_s = time.monotonic() + random.uniform(0.0, ceiling_s)  # noqa: S311 - jitter, so that workers do not come back in step

    def _wait(self, client: Client, wait_s: float) -> bool:
        """Whether there is something to read; writes what is waiting meanwhile."""
        sock = client.socket()
        if sock is None:
            self._leave()
            return False
        if self._is_pending(sock):
            return True
        writers = [sock] if client.want_write() else []
        readable, writable, _ = select.select([sock], writers, [], wait_s)
        if writable and not self._held(client.loop_write()):
            return False
        if not self._held(client.loop_misc()):
            return False
        return bool(readable)

    def _is_readable(self, client: Client) -> bool:
        sock = client.socket()
        return sock is not None and (self._is_pending(sock) or bool(select.select([sock], [], [], 0)[0]))

    @staticmethod
    def _is_pending(sock: Any) -> bool:
        # TLS may hold decrypted bytes that select cannot see.
        return bool(sock.pending())

    def _held(self, rc: MQTTErrorCode) -> bool:
        """Whether the connection still stands."""
        if rc in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN}:
            return True
        _log.warning("connection to the broker was lost", reason=str(rc))
        self._leave()
        return False

    def _leave(self) -> None:
        self._client = None
        self._subscribed = False
        self._back_off()

    def _on_connect(
        self, client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            _log.error("broker refused the connection", reason=str(reason))
            return
        filters = [shared_up_filter(self._settings.ingest_group, kind) for kind in _SUBSCRIBED]
        filters.append(shared_watch_filter(self._settings.ingest_group))
        client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in filters])

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            _log.error("broker refused a subscription", reasons=[str(reason) for reason in reasons])
            return
        self._failures = 0
        self._subscribed = True

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._inbox.append(Taken(received(message), self._connection))
