"""Event streams over HTTP: live, resumable, ending when an execution has ended."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.demo_client import PATIENCE_S, Demo

pytestmark = pytest.mark.acceptance


def stream(demo: Demo, path: str, last_id: int | None = None) -> Iterator[dict[str, Any]]:
    request = urllib.request.Request(demo.facts["url"] + path)
    request.add_header("Authorization", f"Bearer {demo.facts['api_token']}")
    if last_id is not None:
        request.add_header("Last-Event-ID", str(last_id))
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        for line in response:
            if line.startswith(b"data:"):
                yield json.loads(line[5:])


def test_execution_streams_until_its_verdict_and_can_be_taken_up_again(demo: Demo) -> None:
    asked = demo.request("smart1", "app.alive")
    events = list(stream(demo, f"/api/v1/executions/{asked['id']}/events", last_id=0))
    states = [event["data"]["state"] for event in events if event["type"] == "execution"]
    assert states[-1] == "SUCCEEDED"
    assert [event["data"]["outcome"] for event in events if event["type"] == "verdict"] == ["pass"]
    identifiers = [event["id"] for event in events]
    assert identifiers == sorted(set(identifiers))
    middle = identifiers[len(identifiers) // 2]
    again = list(stream(demo, f"/api/v1/executions/{asked['id']}/events", last_id=middle))
    assert [event["id"] for event in again] == [identifier for identifier in identifiers if identifier > middle]


def test_fault_arrives_on_the_stream_of_its_device(demo: Demo) -> None:
    opened = threading.Event()
    heard: list[dict[str, Any]] = []

    def listen() -> None:
        events = stream(demo, f"/api/v1/devices/{demo.device('prn1')}/events", last_id=0)
        for event in events:
            opened.set()
            if (
                event["type"] == "fault_raised"
                and event["data"]["code"] == "escpos.eot2.cover_open"
                and event["id"] > newest
            ):
                heard.append(event)
                return

    newest = max(event["id"] for event in demo.timeline("prn1"))
    listener = threading.Thread(target=listen)
    listener.start()
    assert opened.wait(PATIENCE_S)
    demo.break_("prn1", "cover_open")
    listener.join(PATIENCE_S)
    assert heard
