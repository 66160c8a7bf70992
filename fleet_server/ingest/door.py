"""The connection of one ingest worker, driven by the worker's own thread: reading stops while it commits.

That bounds memory whatever the broker does with its in-flight limit (2.0 of mosquitto overruns it): what is not read
stays in the broker. A new session is made for every connection, so that nothing of the last one is sent again. MQTT is
spoken by `fleet_server.ingest.broker_session`: of what a message cost ingest, a general client took more than half.

Invariant: a message is answered to the broker only on the connection it came on.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from math import inf

import msgspec
import structlog

from fleet_server.ingest.answers import Publication
from fleet_server.ingest.broker_session import BrokerSession, Standing
from fleet_server.ingest.tls_stream import TlsStream
from fleet_server.mqtt import Received, service_context
from fleet_server.settings import ServerSettings
from protocol.topics import Up, shared_up_filter, shared_watch_filter

# What is read in one go: what is there, but no more than this and what one reading of the socket adds.
MAX_MESSAGES = 1000
MAX_READING_S = 0.02
_SUBSCRIBED = (Up.HELLO, Up.CAPABILITIES, Up.URGENT, Up.BULK, Up.PRESENCE)
_RETRY_FIRST_S = 0.5
_RETRY_CAP_S = 15.0
_CONNECT_TIMEOUT_S = 5.0
# How long a broker that takes no bytes may keep a worker that ends.
_FAREWELL_S = 1.0
# How long a broker that takes no bytes may keep a worker that answers; the rest leaves at its next turn.
_PUSH_WAIT_S = 0.2
_log = structlog.get_logger(__name__)


class Taken(msgspec.Struct, frozen=True, gc=False):
    """A message, the connection it came on, and when (monotonic; never: not known)."""

    message: Received
    connection: int
    came_s: float = inf


class Door:
    def __init__(self, settings: ServerSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._stream: TlsStream | None = None
        self._session: BrokerSession | None = None
        self._connection = 0
        self._failures = 0
        self._retry_at_s = 0.0
        self._dropped = 0
        self._is_retiring = False

    @property
    def is_open(self) -> bool:
        """Whether messages reach this worker."""
        return self._session is not None and self._session.standing is Standing.OPEN

    @property
    def has_room(self) -> bool:
        """Whether the broker takes what is published now, or soon."""
        return self._session is not None and self._session.has_room

    @property
    def dropped(self) -> int:
        """What was to be published and was not."""
        return self._dropped + (0 if self._session is None else self._session.dropped)

    def take(self, wait_s: float) -> list[Taken]:
        """What has arrived, after waiting at most ``wait_s`` for a first message. Connects when there is need."""
        if self._stream is None or self._session is None:
            if not self._is_retiring:
                self._connect(wait_s)
            return []
        try:
            read = self._read(self._stream, self._session, wait_s)
        except OSError as error:
            self._leave(str(error))
            return []
        now_s = time.monotonic()
        return [Taken(one, self._connection, now_s) for one in read]

    def publish(self, messages: Sequence[Publication]) -> None:
        """Whatever is lost here is sent again: acknowledgements with the next batch, the rest by its own timers."""
        if self._session is None:
            self._dropped += len(messages)
            return
        for one in messages:
            self._session.publish(one.topic, one.payload, one.qos, one.content_type, is_timed=one.is_timed)
        self._write()
        self._push()

    def acknowledge(self, taken: Sequence[Taken]) -> None:
        """To the broker, so that it sends more. It proves nothing to the device."""
        if self._session is not None:
            here = self._connection
            self._session.acknowledge([one.message.mid for one in taken if one.connection == here and one.message.qos])
            self._write()

    def idle(self, wait_s: float) -> None:
        """Waits without reading, keeping the connection alive as long as the broker's patience lasts."""
        time.sleep(wait_s)
        if self._session is not None:
            self._session.on_time(time.monotonic(), may_judge=False)
            self._write()

    def retire(self) -> None:
        """Asks the broker for nothing more; ``take`` still gives what was on its way."""
        if self._session is not None and self._session.standing is Standing.OPEN:
            self._session.retire()
            self._is_retiring = True
            self._write()

    @property
    def is_retiring(self) -> bool:
        """Whether something may still come after `retire`."""
        return self._is_retiring and self._session is not None and self._session.standing is Standing.OPEN

    def close(self) -> None:
        """Answers that were given before are sent before the goodbye."""
        if self._session is not None:
            self._session.leave()
            self._write()
            give_up_s = time.monotonic() + _FAREWELL_S
            while self._stream is not None and self._stream.is_behind and time.monotonic() < give_up_s:
                self._stream.wait(0.05)
            self._leave("")

    def _read(self, stream: TlsStream, session: BrokerSession, wait_s: float) -> list[Received]:
        session.on_time(time.monotonic(), may_judge=False)
        self._write()
        if self._stream is None:
            return []
        if not stream.wait(wait_s):
            session.on_time(time.monotonic(), may_judge=True)
            if session.standing is Standing.OVER:
                self._leave(session.why_over)
            return []
        messages: list[Received] = []
        stop_s = time.monotonic() + MAX_READING_S
        while data := stream.read():
            messages += session.receive(data, time.monotonic())
            if session.standing is Standing.OVER:
                self._leave(session.why_over)
                break
            if session.standing is Standing.OPEN:
                self._failures = 0
            if len(messages) >= MAX_MESSAGES or time.monotonic() > stop_s:
                break
        self._write()
        return messages

    def _write(self) -> None:
        if self._stream is None or self._session is None:
            return
        try:
            # What the kernel does not take now waits in the session, whose memory is bounded.
            if self._session.outgoing and self._stream.write(self._session.outgoing):
                self._session.on_written(time.monotonic())
        except OSError as error:
            self._leave(str(error))

    def _push(self) -> None:
        """What the kernel did not take at once: the next turn may be many seconds away."""
        try:
            while self._stream is not None and self._stream.is_behind and self._stream.push(_PUSH_WAIT_S):
                self._write()
        except OSError as error:
            self._leave(str(error))

    def _connect(self, wait_s: float) -> None:
        now_s = time.monotonic()
        if now_s < self._retry_at_s:
            time.sleep(min(wait_s, self._retry_at_s - now_s))
            return
        host, port = self._settings.mqtt_host, self._settings.mqtt_port
        filters = [shared_up_filter(self._settings.ingest_group, kind) for kind in _SUBSCRIBED]
        filters.append(shared_watch_filter(self._settings.ingest_group))
        self._connection += 1
        try:
            self._stream = TlsStream(host, port, service_context(self._settings, self._name), _CONNECT_TIMEOUT_S)
        except OSError as error:
            _log.warning("broker cannot be reached", error=str(error), failures=self._failures)
            self._back_off()
            return
        client_id = f"{self._name}-{os.getpid()}-{self._connection}"
        self._session = BrokerSession(client_id, filters, time.monotonic())
        self._write()

    def _back_off(self) -> None:
        ceiling_s = min(_RETRY_CAP_S, _RETRY_FIRST_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self._retry_at_s = time.monotonic() + random.uniform(0.0, ceiling_s)  # noqa: S311 - jitter, so that workers do not come back in step

    def _leave(self, why: str) -> None:
        if why:
            _log.warning("connection to the broker was lost", reason=why[:200])
        if self._stream is not None:
            self._stream.close()
        self._dropped = self.dropped
        self._stream = self._session = None
        self._back_off()
