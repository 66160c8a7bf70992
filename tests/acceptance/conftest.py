"""One demo for all acceptance tests of one worker: each test leaves every device well, whatever it broke.

A fault that comes three times within ten minutes flaps, and is over only after a minute of quiet. What has come how
often is known to the agent's process alone: an agent that has raised a code twice is started anew.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator

import pytest

from simulators.broker import BrokerMissing, find_mosquitto
from tests.acceptance.demo_client import Demo
from tests.support.required import missing

# The third flaps.
AT_MOST = 2
BEHIND = {"gw1": ("gw1", "zvt1", "prn1", "modem1"), "esign1": ("esign1",), "smart1": ("smart1",)}


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


@pytest.fixture(scope="session")
def forgotten_before(running_demo: Demo) -> dict[str, int]:
    """For each agent the newest event of which its present process knows nothing."""
    return dict.fromkeys(BEHIND, 0)


@pytest.fixture
def demo(running_demo: Demo, forgotten_before: dict[str, int]) -> Iterator[Demo]:
    yield running_demo
    for key in running_demo.facts["devices"]:
        running_demo.mend(key)
    until_all_is_well(running_demo)
    for agent, devices in BEHIND.items():
        raised = [
            (event["id"], device, event["data"]["code"])
            for device in devices
            for event in running_demo.timeline(device, "fault_raised")
            if event["id"] > forgotten_before[agent]
        ]
        times = Counter((device, code) for _, device, code in raised)
        if max(times.values(), default=0) >= AT_MOST:
            start_anew(running_demo, agent)
            forgotten_before[agent] = max(number for number, _, _ in raised)


@pytest.fixture
def forgetful_esign(demo: Demo) -> Demo:
    """For a test that raises a code twice on esign1 itself: what an earlier test raised would make it the third."""
    start_anew(demo, "esign1")
    return demo


def start_anew(demo: Demo, agent: str) -> None:
    demo.break_(agent, "agent_killed")
    demo.until_missed(agent)
    demo.mend(agent, "agent_killed")
    until_all_is_well(demo)


def until_all_is_well(demo: Demo) -> None:
    demo.until(lambda: what_is_not_well(demo), "every device to be well again", 60.0, is_so=operator.not_)


def what_is_not_well(demo: Demo) -> dict[str, tuple[str, str, set[str]]]:
    """Condition, presence and open codes of each device that is not well and online."""
    keys = {device["id"]: key for key, device in demo.facts["devices"].items()}
    devices = demo.get("/api/v1/devices?limit=200")["items"]
    return {
        keys[device["id"]]: (device["condition"], device["presence"], demo.open_codes(keys[device["id"]]))
        for device in devices
        if (device["condition"], device["presence"]) != ("well", "online")
    }
