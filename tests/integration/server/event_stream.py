"""A program that follows an event stream of the API, in a thread, as a customer's would."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.support.wire_agent import until


class EventStream:
    """What came so far, each with the moment (monotonic) it was read."""

    def __init__(self) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.ended = threading.Event()

    def first(self, wanted: Callable[[dict[str, Any]], bool]) -> tuple[float, dict[str, Any]] | None:
        return next((one for one in list(self.events) if wanted(one[1])), None)

    def await_first(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        until(lambda: self.first(wanted), what)
        found = self.first(wanted)
        assert found is not None
        return found[1]

    def read(self, response: http.client.HTTPResponse) -> None:
        try:
            for line in response:
                if line.startswith(b"data: "):
                    self.events.append((time.perf_counter(), json.loads(line[6:])))
        except (OSError, http.client.HTTPException):
            # The test, or the server, ends the connection under the reader.
            return
        finally:
            self.ended.set()


@contextmanager
def followed(url: str, path: str, headers: dict[str, str], last_event_id: int | None = None) -> Iterator[EventStream]:
    stream = EventStream()
    if last_event_id is not None:
        headers = {**headers, "Last-Event-ID": str(last_event_id)}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", path, headers=headers)
    sock = connection.sock
    response = connection.getresponse()
    assert response.status == 200
    reader = threading.Thread(target=stream.read, args=(response,), daemon=True)
    reader.start()
    try:
        yield stream
    finally:
        if not stream.ended.is_set():
            # Closing alone would wait for the reader; this wakes it.
            sock.shutdown(socket.SHUT_RDWR)
        reader.join(20)
        connection.close()
