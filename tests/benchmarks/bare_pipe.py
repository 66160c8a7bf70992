"""The floor of ingest: the least that takes a message from the broker, makes it durable and only then answers it.

With paho, the client that most would take, and raw: this product's own packets and nothing else. Neither acknowledges
to the device, keeps a watermark, a latest value or a timeline.
"""

from __future__ import annotations

import collections
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from fleet_server.ingest.tls_stream import TlsStream
from protocol import codec, mqtt_packets
from protocol.mqtt_packets import PacketReader, Publish
from protocol.records import Record
from protocol.streams import Batch
from protocol.topics import Up, shared_up_filter
from tests.benchmarks.bare_ingest import Row, Store
from tests.support.broker import ClientFiles

_SERVICE = "svc-fleet-1"
_FLUSH_S = 0.02
_MOST = 2000
Database = Callable[[], AbstractContextManager[Store]]


def paho_pipe(
    host: str, port: int, files: ClientFiles, database: Database, stored: Synchronized[int], ready: Event, stop: Event
) -> None:
    waiting: collections.deque[MQTTMessage] = collections.deque()
    client = Client(CallbackAPIVersion.VERSION2, client_id=_SERVICE, protocol=MQTTv5, manual_ack=True)
    client.tls_set_context(files.context())
    client.on_connect = lambda it, *_: it.subscribe(_filter(), 1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _data, message: waiting.append(message)
    client.connect(host, port)
    with database() as store:
        client.loop_start()
        while not stop.wait(_FLUSH_S):
            while waiting:
                batch = [waiting.popleft() for _ in range(min(len(waiting), _MOST))]
                store([row(bytes(message.payload)) for message in batch])
                stored.value += len(batch)
                for message in batch:
                    client.ack(message.mid, message.qos)
        client.disconnect()
        client.loop_stop()


def raw_pipe(
    host: str, port: int, files: ClientFiles, database: Database, stored: Synchronized[int], ready: Event, stop: Event
) -> None:
    stream = TlsStream(host, port, files.context(), 10.0)
    reader = PacketReader()
    stream.write(bytearray(mqtt_packets.connect(_SERVICE, 600)))
    stream.write(bytearray(mqtt_packets.subscribe(1, [(_filter(), 1)])))
    threading.Timer(0.5, ready.set).start()
    with database() as store:
        while not stop.is_set():
            batch: list[Publish] = []
            until_s = time.monotonic() + _FLUSH_S
            while len(batch) < _MOST and (left_s := until_s - time.monotonic()) > 0:
                if stream.wait(left_s):
                    batch += [one for one in reader.feed(stream.read()) if type(one) is Publish]
            if batch:
                store([row(one.payload) for one in batch])
                stored.value += len(batch)
                stream.write(bytearray().join([mqtt_packets.puback(one.mid) for one in batch]))
    stream.close()


def row(payload: bytes) -> Row:
    batch = codec.decode(payload, None, Batch)
    if not isinstance(batch, Batch):
        raise TypeError(f"expected a batch, came {batch}")
    record = codec.from_json(batch.records[0], Record)
    if not isinstance(record, Record):
        raise TypeError(f"expected a record, came {record}")
    return record.device, batch.stream, batch.first_seq, record.wall_ms, payload


def _filter() -> str:
    return shared_up_filter("g-" + os.urandom(16).hex(), Up.BULK)
