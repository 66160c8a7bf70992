"""A process that sends prepared messages from many links to the broker, as fast as the other end stores them.

What is sent and not stored yet stays below a ``backlog``: a broker throws away what it cannot queue, and says nothing.
Each link has a TLS connection of its own and at most ``WINDOW`` messages that the broker has not answered.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized

from fleet_server.ingest.tls_stream import TlsStream
from protocol import mqtt_packets as packets
from protocol.identifiers import LinkId
from protocol.mqtt_packets import PacketReader, Puback
from protocol.topics import Up, up
from tests.support.broker import ClientFiles

BACKLOG = 4000
WINDOW = 20
# Written together; more than a broker takes from one link before it looks at the next.
_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Sender:
    link: LinkId
    files: ClientFiles
    payloads: Sequence[bytes]
    content_type: str = "application/json"


class _Connection:
    def __init__(self, sender: Sender, host: str, port: int) -> None:
        topic = up(sender.link, Up.BULK)
        self._packets = [
            packets.publish(topic, payload, 1, number % 65535 + 1, sender.content_type)
            for number, payload in enumerate(sender.payloads)
        ]
        self._next = 0
        self._answered = 0
        self._reader = PacketReader()
        self._stream = TlsStream(host, port, sender.files.context(), 30.0)
        self._stream.write(bytearray(packets.connect(sender.link, 600)))

    @property
    def is_done(self) -> bool:
        return self._answered == len(self._packets)

    def go_on(self, allowed: int) -> int:
        """How many messages were sent, of ``allowed``."""
        if data := self._stream.read():
            self._answered += sum(type(packet) is Puback for packet in self._reader.feed(data))
        count = min(allowed, _AT_ONCE, WINDOW - (self._next - self._answered), len(self._packets) - self._next)
        if count <= 0 or not self._stream.write(bytearray().join(self._packets[self._next : self._next + count])):
            return 0
        self._next += count
        return count


def blast(
    host: str,
    port: int,
    senders: Sequence[Sender],
    stored: Synchronized[int],
    began_s: Synchronized[float],
    backlog: int,
) -> None:
    """Target of a process. ``stored``: how many are stored by now; ``began_s``: set when the first is sent."""
    links = [_Connection(sender, host, port) for sender in senders]
    time.sleep(0.5)
    sent = 0
    began_s.value = time.monotonic()
    while links:
        before = sent
        for link in links:
            sent += link.go_on(backlog - (sent - stored.value))
        links = [link for link in links if not link.is_done]
        if sent == before:
            time.sleep(0.002)
