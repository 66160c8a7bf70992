"""A real fleet server for a session of tests: ``fleet-server init``, mosquitto and ``fleet-server run`` as processes.

It listens on loopback on free ports and keeps everything in one folder. A terminal is connected by enrolling it and
starting the agent as a process of its own, which ends with the terminal. An existing server can be asked in the same
way; terminals cannot be connected to it, since enrolling is the right of whoever runs it.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from simulators.api import ApiClient
from simulators.broker import BrokerMissing, Mosquitto, find_mosquitto, free_port
from simulators.demo.agent_files import agent_configuration
from simulators.demo.installation import Installation, initialise, wait_until_up
from simulators.processes import Child
from simulators.testing.bench_terminal import BenchTerminal
from simulators.testing.errors import ActionUnknown, NotSeen, ServerMissing

AnswerT = TypeVar("AnswerT")

WAIT_S: Final = 30.0
POLL_S: Final = 0.2
SOAK_LIMIT_S: Final = 1.0
_ASK_EVERY_S: Final = 0.1
_HOST: Final = "127.0.0.1"
_SITE: Final[dict[str, Any]] = {
    "key": "bench",
    "merchant_id": "898000000000001",
    "merchant_name": {"zh": "测试商户", "en": "Test bench"},
    "site_name": {"zh": "测试台", "en": "Bench"},
    "city": {"zh": "杭州", "en": "Hangzhou"},
    "phone": "13800000000",
    "timezone": "Asia/Shanghai",
    "trading_hours": None,
}


class FleetServer:
    """``url`` and ``token`` are all that a program of one's own needs; the rest waits and asks over the same API."""

    def __init__(self, url: str, token: str, ca_file: Path | None, enrolment: Enrolment | None = None) -> None:
        self.url = url
        self.token = token
        self.ca_file = ca_file
        self.api = ApiClient(url, token, ca_file)
        self._enrolment = enrolment

    def connect(self, terminal: BenchTerminal, *, within_s: float = WAIT_S) -> str:
        """Enrols the terminal, starts the agent on it, waits until the server hears it; answers the device's id."""
        if self._enrolment is None:
            raise ServerMissing("a terminal can be connected only to a server that the tests started themselves")
        device = self._enrolment.connect(terminal)

        def heard() -> bool | None:
            found = self.api.get(f"/api/v1/devices/{device}")
            return (found["presence"] == "online" and bool(found["capabilities"]["checks"])) or None

        self._waited(heard, f"{terminal.key} to be heard", within_s)
        return device

    def wait_for_fault(self, device: str, code: str, *, within_s: float = WAIT_S) -> dict[str, Any]:
        """The open fault as the API gives it, with its meaning and what to say. Raises `NotSeen`."""
        return self._waited(lambda: self._fault(device, code, is_open=True), f"fault {code} of {device}", within_s)

    def wait_until_cleared(self, device: str, code: str, *, within_s: float = WAIT_S) -> dict[str, Any]:
        def cleared() -> dict[str, Any] | None:
            return None if self._fault(device, code, is_open=True) else self._fault(device, code, is_open=False)

        return self._waited(cleared, f"the end of fault {code} of {device}", within_s)

    def run_check(self, device: str, action: str, *, within_s: float = WAIT_S, **params: Any) -> dict[str, Any]:
        """A check or test; answers the execution when it has ended, with its results."""
        return self._run(device, action, params, {"checks", "tests"}, None, within_s)

    def run_fix(
        self, device: str, action: str, *, override_reason: str | None = None, within_s: float = 120.0, **params: Any
    ) -> dict[str, Any]:
        """``override_reason``: why it is to run although its pre-check finds nothing wrong."""
        return self._run(device, action, params, {"fixes"}, override_reason, within_s)

    def running_agents(self) -> list[str]:
        """Names of the agents' processes; their logs lie beside the server's."""
        return [] if self._enrolment is None else self._enrolment.running_agents()

    def stop(self) -> None:
        if self._enrolment is not None:
            self._enrolment.stop()

    def _run(
        self,
        device: str,
        action: str,
        params: dict[str, Any],
        kinds: set[str],
        override_reason: str | None,
        within_s: float,
    ) -> dict[str, Any]:
        offered = self.api.get(f"/api/v1/devices/{device}")["capabilities"]
        known = sorted(one["name"] for kind in kinds for one in offered[kind])
        if action not in known:
            raise ActionUnknown(f"expected one of {', '.join(known)}, came {action!r}")
        wish = {"device": device, "action": action, "params": params, "override_reason": override_reason}
        execution = self.api.post("/api/v1/executions", wish)["id"]

        def ended() -> dict[str, Any] | None:
            found = self.api.get(f"/api/v1/executions/{execution}")
            return found if found["is_final"] else None

        return self._waited(ended, f"the end of {action}", within_s)

    def _fault(self, device: str, code: str, *, is_open: bool) -> dict[str, Any] | None:
        found = self.api.get(f"/api/v1/faults?device={device}&code={code}&open={str(is_open).lower()}")
        return next(iter(found["items"]), None)

    def _waited(self, answer: Callable[[], AnswerT | None], what: str, within_s: float) -> AnswerT:
        give_up_at = time.monotonic() + within_s
        while (found := answer()) is None:
            if time.monotonic() >= give_up_at:
                hint = self._enrolment.hint() if self._enrolment is not None else ""
                raise NotSeen(f"waited {within_s:g} s in vain for {what}{hint}")
            time.sleep(_ASK_EVERY_S)
        return found


class Enrolment:
    """The processes and the folder of a server of our own, and the agents of what is connected to it."""

    def __init__(self, folder: Path, mosquitto: Mosquitto) -> None:
        self._folder = folder
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True)
        self._ports = (free_port(), free_port())
        self._count = 0
        self._agents: list[Child] = []
        self.installation = self._initialise([])
        broker = self._child("broker", mosquitto.command(self.installation.broker_config), mosquitto.environment)
        server = self._child("fleet-server", [sys.executable, "-m", "fleet_server", "run", "--data", str(folder)])
        self._processes = [broker, server]

    def start(self) -> None:
        """Raises `StartFailed`, with everything stopped again."""
        try:
            for process in self._processes:
                process.start()
            wait_until_up(self.installation, self._processes)
        except BaseException:
            self.stop()
            raise

    def connect(self, terminal: BenchTerminal) -> str:
        self._count += 1
        key = f"{terminal.key}-{self._count}"
        link_key = f"{key}-gateway" if terminal.is_attached else key
        made = self._initialise(_entries(terminal, key, link_key)).devices
        bundle = Path(made[link_key]["bundle"])
        configuration = bundle / "agent.toml"
        configuration.write_text(
            agent_configuration(terminal.link(), bundle, terminal.lines, POLL_S, SOAK_LIMIT_S), "utf-8"
        )
        command = [sys.executable, "-m", "device_agent", "run", "--config", str(configuration)]
        agent = self._child(f"agent-{key}", command)
        agent.start()
        self._agents.append(agent)
        terminal.before_stop(agent.stop)
        device: str = made[key]["id"]
        return device

    def running_agents(self) -> list[str]:
        return [agent.name for agent in self._agents if agent.is_running()]

    def hint(self) -> str:
        """Which process has died, if any, with its last words. An agent that ended with its terminal has not."""
        died = [child for child in (*self._processes, *self._agents) if child.exit_code not in {None, 0}]
        return "".join(f"; {child.name} has died: {child.log_tail()[-300:]}" for child in died[-1:])

    def stop(self) -> None:
        for child in (*self._agents, *reversed(self._processes)):
            child.stop()

    def _initialise(self, entries: list[dict[str, Any]]) -> Installation:
        port, mqtt_port = self._ports
        return initialise(self._folder, _HOST, port, mqtt_port, {"sites": [_SITE], "devices": entries})

    def _child(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> Child:
        return Child(name, command, self._logs / f"{name}.log", environment)


def start(folder: Path) -> FleetServer:
    """Raises `ServerMissing` when a part that it needs is not installed."""
    missing = [name for name in ("fastapi", "sqlmodel", "uvicorn", "typer") if importlib.util.find_spec(name) is None]
    if missing:
        raise ServerMissing(f"the fleet server is not installed ({missing[0]} is missing): install tillmedic[server]")
    try:
        mosquitto = find_mosquitto()
    except BrokerMissing as error:
        raise ServerMissing(str(error)) from error
    enrolment = Enrolment(folder, mosquitto)
    enrolment.start()
    made = enrolment.installation
    return FleetServer(made.url, made.api_token, made.ca_file, enrolment)


def existing(url: str, token: str, ca_file: Path | None) -> FleetServer:
    return FleetServer(url, token, ca_file)


def _entries(terminal: BenchTerminal, key: str, link_key: str) -> list[dict[str, Any]]:
    link: dict[str, Any] = {
        "key": link_key,
        "site": _SITE["key"],
        "kind": "gateway" if terminal.is_attached else "terminal",
        "serial_number": f"BENCH-{link_key}",
        "model": terminal.model,
        "terminal_class": terminal.terminal_class,
        "label": {"zh": link_key, "en": link_key},
    }
    if not terminal.is_attached:
        return [link]
    attached = link | {
        "key": key,
        "kind": "attached",
        "attached_to": link_key,
        "line": terminal.line_name,
        "serial_number": f"BENCH-{key}",
        "model": terminal.family,
        "label": {"zh": key, "en": key},
    }
    return [link, attached]
