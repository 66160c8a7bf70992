"""One demo for all acceptance tests: each test leaves every device well, whatever it broke.

A fault that comes three times within ten minutes flaps, and is over only after a minute of quiet: at most two tests
raise the same one on the same device while its agent runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulators.broker import BrokerMissing, find_mosquitto
from tests.acceptance.demo_client import Demo
from tests.support.required import missing


@pytest.fixture(scope="session")
def running_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    try:
        find_mosquitto()
    except BrokerMissing as error:
        missing(str(error))
    demo = Demo(tmp_path_factory.mktemp("demo") / "state")
    demo.start()
    yield demo
    demo.stop()


@pytest.fixture
def demo(running_demo: Demo) -> Iterator[Demo]:
    yield running_demo
    for key in running_demo.facts["devices"]:
        running_demo.mend(key)
    running_demo.until(lambda: everything_is_well(running_demo), "every device to be well again", 120.0)


def everything_is_well(demo: Demo) -> bool:
    devices = demo.get("/api/v1/devices?limit=200")["items"]
    return all(device["condition"] == "well" and device["presence"] == "online" for device in devices)
