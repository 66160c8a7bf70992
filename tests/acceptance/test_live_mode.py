"""Live mode with real agents: what a device measures, on a stream, while somebody reads it."""

from __future__ import annotations

import time
from itertools import islice

import pytest

from tests.acceptance.demo_client import Demo
from tests.acceptance.test_event_streams import stream

pytestmark = pytest.mark.acceptance
# Two seconds between reports, one request on its way, and a machine that does other things.
PROMPT_S = 5.0


@pytest.mark.parametrize("key", ["esign1", "zvt1"])
def test_an_open_stream_brings_what_the_device_measures_now(demo: Demo, key: str) -> None:
    began = time.monotonic()
    reports = stream(demo, f"/api/v1/devices/{demo.device(key)}/live")
    told = [(time.monotonic() - began, report) for report in islice(reports, 3)]
    assert told[0][0] < PROMPT_S
    assert {report["device"] for _, report in told} == {demo.device(key)}
    assert all(report["samples"] for _, report in told)
