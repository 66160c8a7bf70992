"""The console's side of the simulators' socket: one JSON line there, one back, within a time limit.

Only the demo has it. The console sends what a person chose and shows the answer; it never trusts its shape.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_server.errors import FleetError

TIMEOUT_S = 8.0
MAX_ANSWER_BYTES = 256 * 1024


class SimulatorsRefused(FleetError):
    """``reason`` is a stable word of ours or of the simulators."""

    code = "simulators_refused"
    status = 409

    def __init__(self, reason: str) -> None:
        super().__init__(f"the simulators refused: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class BreakableFault:
    name: str
    zh: str
    en: str
    is_present: bool


@dataclass(frozen=True, slots=True)
class BreakableDevice:
    key: str
    id: str
    faults: list[BreakableFault]


def list_devices(path: Path) -> list[BreakableDevice]:
    devices = _ask(path, {"cmd": "list"}).get("devices")
    return [_device(one) for one in devices if isinstance(one, dict)] if isinstance(devices, list) else []


def break_device(path: Path, device: str, fault: str) -> None:
    _ask(path, {"cmd": "break", "device": device, "fault": fault})


def mend_device(path: Path, device: str, fault: str | None) -> None:
    _ask(path, {"cmd": "mend", "device": device} | ({} if fault is None else {"fault": fault}))


def _ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline(MAX_ANSWER_BYTES)
    except TimeoutError as error:
        raise SimulatorsRefused("simulators_no_answer") from error
    except OSError as error:
        raise SimulatorsRefused("simulators_not_running") from error
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SimulatorsRefused("simulators_no_answer") from error
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        raise SimulatorsRefused(str(answer.get("code", ""))[:60] if isinstance(answer, dict) else "")
    return answer


def _device(one: dict[str, Any]) -> BreakableDevice:
    faults = one.get("faults")
    return BreakableDevice(
        key=str(one.get("key", "")),
        id=str(one.get("id", "")),
        faults=[_fault(fault) for fault in faults if isinstance(fault, dict)] if isinstance(faults, list) else [],
    )


def _fault(one: dict[str, Any]) -> BreakableFault:
    name = str(one.get("name", ""))
    return BreakableFault(name, str(one.get("zh", name)), str(one.get("en", name)), one.get("present") is True)
