"""How each device is made from its configuration. Drivers are loaded only when one of them is configured."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from device_agent.config import AgentConfig, LineConfig
from device_agent.drivers.network_target import NetworkTarget
from device_agent.drivers.port import PortOpener
from device_agent.drivers.results import LineStatistics, PollResult
from device_agent.families import ESCPOS, HOST, LINK, MODEM, TERMINAL, ZVT

# ZVT's own frame has two stop bits (PA00P016); the others have one.
_STOP_BITS = {ZVT: 2, ESCPOS: 1, MODEM: 1}


class NothingToRead:
    """A link whose own machine is not looked at: it is there, and that is all."""

    family = LINK

    def poll(self, now: datetime) -> PollResult[None]:
        return PollResult(now, True, {}, frozenset(), None, LineStatistics())


def family_of_host(config: AgentConfig) -> str:
    return {"terminal": TERMINAL, "linux": HOST}.get(config.host.kind, LINK)


def host(config: AgentConfig) -> Callable[[], Any]:
    """Makes the device that the agent itself runs on; called again when its worker is replaced."""
    match config.host.kind:
        case "terminal":
            from device_agent.adapters.socket_port import open_unix
            from device_agent.drivers.terminal.device import TerminalDevice

            path = config.file(config.host.socket)
            target = network_target(config)
            return lambda: TerminalDevice(lambda: open_unix(path), target=target)
        case "linux":
            from device_agent.drivers.host.device import HostDevice

            target = network_target(config)
            return lambda: HostDevice(target=target, certificate=config.bundled("client.crt"))
        case _:
            return NothingToRead


def network_target(config: AgentConfig) -> NetworkTarget:
    network = config.network
    ca = config.file(network.ca) if network.ca else None
    return NetworkTarget(network.acquirer_host, network.acquirer_port, ca, network.dns_name)


def on_line(config: AgentConfig, line: LineConfig) -> Callable[[], Any]:
    open_port = opener_of(config, line)
    match line.driver:
        case "zvt":
            from device_agent.drivers.zvt.device import ZvtDevice

            is_serial = not line.url
            return lambda: ZvtDevice(open_port, is_serial=is_serial)
        case "escpos":
            from device_agent.drivers.escpos.device import PrinterDevice

            return lambda: PrinterDevice(open_port)
        case _:
            from device_agent.drivers.modem.device import ModemDevice

            return lambda: ModemDevice(open_port)


def opener_of(config: AgentConfig, line: LineConfig) -> PortOpener:
    if line.url:
        from device_agent.adapters.socket_port import open_tcp

        name, _, number = line.url.removeprefix("socket://").rpartition(":")
        return lambda: open_tcp(name, int(number))
    from device_agent.adapters.serial_port import SerialOpener

    return SerialOpener(str(config.file(line.port)), line.baud, _STOP_BITS[line.driver])
