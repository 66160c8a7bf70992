"""A running demo as the place of a scenario: breaks and mends over its socket, asks its server what it knows.

A reboot is asked for as a person would ask: by the fix the terminal declares. What was broken is mended by the scenario
or stays broken, as in the demo itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from simulators.api import ApiClient
from simulators.demo.control import DemoNotRunning, ask
from simulators.scenarios.scenario_file import ScenarioInvalid
from simulators.scenarios.story import Story
from simulators.scenarios.timeline import Act, Happening

_REBOOT: Final = "device.reboot"
# A page of the API; the demo's six devices never have as many at once.
_MAX_FAULTS: Final = 200


class DemoStage:
    """Raises `DemoNotRunning`, or `ScenarioInvalid` when the demo has no such device."""

    def __init__(self, data: Path, keys: Sequence[str], story: Story) -> None:
        self._socket = data / "simulators.sock"
        published = _published(data / "demo.json")
        ids = {key: str(device["id"]) for key, device in published["devices"].items()}
        unknown = sorted(set(keys) - ids.keys())
        if unknown:
            raise ScenarioInvalid(f"devices: expected keys of the demo ({', '.join(ids)}), came {unknown[0]!r}")
        self._ids = {key: ids[key] for key in keys}
        ca_file = data / "server" / "keys" / "ca.crt"
        self._api = ApiClient(published["url"], published["api_token"], ca_file)
        self._story = story
        self._open = self._faults()

    def advance_to(self, at_s: float) -> None:
        """The pace is the player's; what the server knows by now is told."""
        before, self._open = self._open, self._faults()
        for device, code in sorted(self._open - before):
            self._story.fault_raised(at_s, device, code)
        for device, code in sorted(before - self._open):
            self._story.fault_cleared(at_s, device, code)

    def apply(self, happening: Happening) -> None:
        if happening.act is Act.REBOOT:
            wish = {"device": self._ids[happening.device], "action": _REBOOT, "override_reason": "part of a scenario"}
            self._api.post("/api/v1/executions", wish)
        else:
            ask(self._socket, {"cmd": happening.act.value, "device": happening.device, "fault": happening.fault})

    def _faults(self) -> set[tuple[str, str]]:
        keys = {device: key for key, device in self._ids.items()}
        page = self._api.get(f"/api/v1/faults?open=true&limit={_MAX_FAULTS}")
        return {(keys[fault["device"]], str(fault["code"])) for fault in page["items"] if fault["device"] in keys}


def _published(path: Path) -> dict[str, Any]:
    try:
        published: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DemoNotRunning(f"no demo runs in {path.parent}: start it with 'make run'") from error
    return published
