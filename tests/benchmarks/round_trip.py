"""A check that takes no time itself: from sending the HTTP request to its verdict on the device's open event stream."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from urllib.parse import urlsplit

from tests.acceptance.demo_client import PATIENCE_S, Demo
from tests.benchmarks.figures import Figure, percentile

REQUESTS = 300
EVERY_S = 0.1


class Stream(threading.Thread):
    """The events of one device with the moment of their arrival."""

    def __init__(self, demo: Demo, key: str) -> None:
        super().__init__(daemon=True)
        self.arrived: queue.SimpleQueue[tuple[float, dict[str, object]]] = queue.SimpleQueue()
        place = urlsplit(demo.facts["url"])
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {demo.facts['api_token']}"}
        self._connection.request("GET", f"/api/v1/devices/{demo.device(key)}/events", headers=headers)
        self._response = self._connection.getresponse()
        self.start()

    def run(self) -> None:
        try:
            while line := self._response.readline():
                if line.startswith(b"data:"):
                    self.arrived.put((time.perf_counter(), json.loads(line[5:])))
        except (OSError, ValueError, AttributeError):
            return  # closed from here: http.client then stumbles over its own socket

    def wait_for(self, execution: str, kind: str) -> float:
        while True:
            at, event = self.arrived.get(timeout=PATIENCE_S)
            if event["execution"] == execution and event["type"] == kind:
                return at

    def close(self) -> None:
        self._connection.close()


def measure(demo: Demo) -> list[Figure]:
    stream = Stream(demo, "gw1")
    place = urlsplit(demo.facts["url"])
    door = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE_S)
    headers = {"Authorization": f"Bearer {demo.facts['api_token']}", "Content-Type": "application/json"}
    body = json.dumps({"device": demo.device("gw1"), "action": "agent.echo", "params": {}})
    whole, answered = [], []
    for number in range(REQUESTS + 20):
        began = time.perf_counter()
        door.request("POST", "/api/v1/executions", body, headers)
        identifier = json.load(door.getresponse())["id"]
        answer_s = time.perf_counter() - began
        verdict_s = stream.wait_for(identifier, "verdict") - began
        if number >= 20:  # the first warm every cache
            answered.append(answer_s * 1000)
            whole.append(verdict_s * 1000)
        time.sleep(max(0.0, EVERY_S - (time.perf_counter() - began)))
    stream.close()
    return [
        Figure("check round trip, p50", percentile(whole, 0.5), "ms", "at most 15 ms"),
        Figure("check round trip, p99", percentile(whole, 0.99), "ms", "at most 60 ms"),
        Figure("of it, answer to the HTTP request, p50", percentile(answered, 0.5), "ms"),
    ]
