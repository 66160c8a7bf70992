"""The hardware of the demo and the agents on it: lines and terminals in this process, agents as processes of their own.

Each agent reaches the broker through a relay of its own, so that its network can be cut alone. A terminal's reboot
takes its agent down with it and starts it again when the terminal is back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol.catalogue.vocabulary import TerminalClass
from simulators.acquirer import AcquirerHost
from simulators.demo.agent_files import agent_configuration, point_bundle_at
from simulators.demo.fleet import GATEWAY, LINKS, LineSpec, LinkSpec, fleet_document
from simulators.demo.hardware import BreakableTerminal, DemoDevice, Link
from simulators.demo.installation import Installation
from simulators.errors import SimulatorError
from simulators.fault_plan import DeviceKind, only_when_asked
from simulators.fault_plan import get as planned_fault
from simulators.peripherals.escpos_printer import EscposPrinter
from simulators.processes import Child
from simulators.serial_command import make_peripheral
from simulators.serial_line import SerialLine
from simulators.tcp_proxy import TcpProxy
from simulators.terminal import SimulatedTerminal

_SEED = 20_260_101
# What waits for a settled batch has its moment within 16 s, and the moment is longer than the 5 s after which an agent
# looks again: payments take 2 s, the batch is open for 8 s and empty for 6 s, in turn.
TRADE_EVERY_S = 8.0
SETTLE_AFTER = 2
_UNSEEN = {line.key: only_when_asked(DeviceKind(line.driver)) for line in GATEWAY.lines}
# As much as a person would read off a slip.
READ_LINES = 20
MakeChild = Callable[[str, list[str], dict[str, str]], Child]
# As the unit of the agent sets it.
_AGENT_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}


class DeviceUnknown(SimulatorError):
    code = "device_unknown"


class Rig:
    def __init__(self, data: Path, installation: Installation, make_child: MakeChild, *, poll_s: float) -> None:
        self._data = data
        self._installation = installation
        self._make_child = make_child
        self._poll_s = poll_s
        self._lines: dict[str, SerialLine] = {}
        self._terminals: dict[str, SimulatedTerminal] = {}
        self._networks: dict[str, TcpProxy] = {}
        self._agents: dict[str, Child] = {}
        self._killed: set[str] = set()
        self._acquirer = AcquirerHost(data / "acquirer")
        self._devices: dict[str, DemoDevice] = {}

    def start_hardware(self) -> None:
        self._acquirer.start()
        for number, line in enumerate(GATEWAY.lines):
            self._start_line(line, seed=_SEED + number)
        for number, link in enumerate(LINKS):
            if link.host == "terminal":
                self._start_terminal(link, seed=_SEED + 10 + number)
            proxy = TcpProxy(("127.0.0.1", self._installation.mqtt_port), seed=_SEED + number)
            proxy.start()
            self._networks[link.key] = proxy

    def start_agents(self) -> None:
        for link in LINKS:
            bundle = Path(self._installation.devices[link.key]["bundle"])
            point_bundle_at(bundle, self._networks[link.key].port)
            configuration = bundle / "agent.toml"
            configuration.write_text(self._configuration(link, bundle), "utf-8")
            command = [sys.executable, "-m", "device_agent", "run", "--config", str(configuration)]
            agent = self._make_child(f"agent-{link.key}", command, _AGENT_ENVIRONMENT)
            # Known before it runs, so that a stop in between finds it.
            self._agents[link.key] = agent
            agent.start()
        self._devices = self._known_devices()

    def agents(self) -> list[Child]:
        return list(self._agents.values())

    def stop(self) -> None:
        for agent in self._agents.values():
            agent.signal_stop()
        for agent in self._agents.values():
            agent.stop()
        for terminal in self._terminals.values():
            terminal.stop()
        for line in self._lines.values():
            line.stop()
        for network in self._networks.values():
            network.stop()
        self._acquirer.stop()

    def watch(self) -> list[str]:
        """Takes an agent down with its terminal, and starts it again when it ended without being asked to; says so."""
        said = []
        for key, agent in self._agents.items():
            terminal = self._terminals.get(key)
            is_down = terminal is not None and terminal.is_down()
            if is_down and agent.is_running():
                agent.kill()
                said.append(f"{key} reboots")
            elif not is_down and not agent.is_running() and key not in self._killed:
                said.append(f"agent of {key} ended (exit code {agent.exit_code}), started again")
                agent.start()
        return said

    def listing(self) -> list[dict[str, Any]]:
        return [
            {
                "key": device.key,
                "id": self._installation.devices[device.key]["id"],
                "faults": [self._fault(name, device) for name in sorted(device.offered_faults())],
            }
            for device in self._devices.values()
        ]

    def change(self, command: str, name: str, fault: str | None) -> str:
        """Breaks or mends; answers what was done in one sentence."""
        device = self._find(name)
        if command == "mend":
            device.mend(fault)
            return f"{device.key}: {fault or 'everything'} mended"
        if fault is None:
            raise DeviceUnknown(f"name a fault of {device.key}: {', '.join(sorted(device.offered_faults()))}")
        device.break_(fault)
        return f"{device.key}: {fault}"

    def screen(self, name: str) -> list[str]:
        """What whoever stands before the device can read: its screen, else the end of what it has printed."""
        key = self._find(name).key
        terminal, line = self._terminals.get(key), self._lines.get(key)
        if terminal is not None:
            return [*terminal.memory.shown] or terminal.memory.printed[-READ_LINES:]
        if line is not None and isinstance(line.peripheral, EscposPrinter):
            return line.peripheral.printed_text()[-READ_LINES:]
        raise DeviceUnknown(f"{key} has neither a screen nor paper: expected a terminal or a printer")

    @property
    def _line_dir(self) -> Path:
        return self._data / "lines"

    def _configuration(self, link: LinkSpec, bundle: Path) -> str:
        return agent_configuration(link, bundle, self._line_dir, self._poll_s, acquirer=self._acquirer)

    def _start_line(self, spec: LineSpec, *, seed: int) -> None:
        self._line_dir.mkdir(exist_ok=True)
        line = SerialLine(make_peripheral(spec.driver), seed=seed, link=self._line_dir / spec.name)
        line.start()
        self._lines[spec.key] = line

    def _start_terminal(self, link: LinkSpec, *, seed: int) -> None:
        folder = self._line_dir / link.key
        folder.mkdir(parents=True, exist_ok=True)
        its_class = TerminalClass[link.model.upper()]
        service, log = folder / "service.sock", folder / "payment.log"
        terminal = SimulatedTerminal(
            its_class,
            seed=seed,
            socket_path=service,
            log_path=log,
            trade_every_s=TRADE_EVERY_S,
            settle_after=SETTLE_AFTER,
        )
        terminal.start()
        self._terminals[link.key] = terminal

    def _known_devices(self) -> dict[str, DemoDevice]:
        serials = {one["key"]: one["serial_number"] for one in fleet_document()["devices"]}
        known = {}
        for key, made in self._installation.devices.items():
            hardware = self._lines.get(key)
            terminal = self._terminals.get(key)
            known[key] = DemoDevice(
                key,
                frozenset({made["id"], serials[key]}),
                hardware if terminal is None else BreakableTerminal(terminal),
                self._link(key) if key in self._agents else None,
                _UNSEEN.get(key, frozenset()),
            )
        return known

    def _link(self, key: str) -> Link:
        def note_killed(*, is_killed: bool) -> None:
            self._killed = self._killed | {key} if is_killed else self._killed - {key}

        return Link(self._networks[key], self._agents[key], note_killed)

    def _find(self, name: str) -> DemoDevice:
        for device in self._devices.values():
            if name == device.key or name in device.aliases:
                return device
        raise DeviceUnknown(
            f"device {name!r} is not one of: {', '.join(sorted(self._devices))}, nor an id or serial number"
        )

    @staticmethod
    def _fault(name: str, device: DemoDevice) -> dict[str, Any]:
        planned = planned_fault(name)
        zh, en = (planned.title_zh, planned.title_en) if planned is not None else (name, name)
        return {"name": name, "zh": zh, "en": en, "present": name in device.faults()}


def listing_text(devices: list[dict[str, Any]]) -> str:
    """The answer of ``list`` for people: one device a line with the faults it has now."""
    lines = []
    for device in devices:
        present = [fault["name"] for fault in device["faults"] if fault["present"]]
        lines.append(f"{device['key']:<8} {device['id']}  {', '.join(present) or 'well'}")
        lines.append("         can break: " + ", ".join(fault["name"] for fault in device["faults"]))
    return "\n".join(lines)
