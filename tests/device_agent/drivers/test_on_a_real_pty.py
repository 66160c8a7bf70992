"""The drivers with the agent's own serial adapter on ptys: what a simulated clock cannot show."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from device_agent.adapters.serial_port import open_serial
from device_agent.adapters.socket_port import open_tcp
from device_agent.drivers.escpos.device import PrinterDevice
from device_agent.drivers.modem.device import ModemDevice
from device_agent.drivers.port import PortOpener
from device_agent.drivers.zvt.device import ZvtDevice
from simulators.serial_command import FAMILIES, make_peripheral
from simulators.serial_line import SerialLine

pytestmark = pytest.mark.integration

DEADLINE_S = 30.0
DRIVERS: dict[str, Callable[[PortOpener], Any]] = {"zvt": ZvtDevice, "escpos": PrinterDevice, "modem": ModemDevice}


def poll(device: Any) -> Any:
    return device.poll(datetime.now(UTC))


def until(device: Any, holds: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        result = poll(device)
        if holds(result):
            return result
        assert time.monotonic() < deadline, result
        select.select([], [], [], 0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_device_tells_its_firmware_in_a_look(family: str, tmp_path: Path) -> None:
    with SerialLine(make_peripheral(family), seed=9, link=tmp_path / "line0") as line:
        device = DRIVERS[family](lambda: open_serial(line.path, 9600))
        assert until(device, lambda result: "sys.firmware_ver" in result.readings).readings["sys.firmware_ver"]
        device.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_device_survives_a_cut_cable_and_an_unplugged_adapter(family: str, tmp_path: Path) -> None:
    with SerialLine(make_peripheral(family), seed=9, link=tmp_path / "line0") as line:
        device = DRIVERS[family](lambda: open_serial(line.path, 9600))
        assert not until(device, lambda result: bool(result.alive)).faults
        line.cut()
        until(device, lambda result: not result.alive)
        line.plug()
        assert not until(device, lambda result: bool(result.alive)).faults
        line.unplug()
        until(device, lambda result: not result.alive)
        line.plug()
        result = until(device, lambda result: bool(result.alive))
        assert result.line.reopened >= 1
        device.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_device_lives_through_noise_and_loss(family: str, tmp_path: Path) -> None:
    with SerialLine(make_peripheral(family), seed=9, link=tmp_path / "line0") as line:
        device = DRIVERS[family](lambda: open_serial(line.path, 9600))
        until(device, lambda result: bool(result.alive))
        line.set_noise(damaged_share=0.01, dropped_share=0.005)
        for _ in range(2):
            poll(device)
        line.set_noise()
        until(device, lambda result: bool(result.alive))
        device.close()


def test_paper_out_is_seen_by_the_next_poll(tmp_path: Path) -> None:
    with SerialLine(make_peripheral("escpos"), seed=9, link=tmp_path / "line0") as line:
        device = PrinterDevice(lambda: open_serial(line.path, 9600))
        poll(device)
        line.apply_fault("paper_out")
        assert "escpos.eot4.paper_end" in {sign.code for sign in poll(device).faults}
        device.close()


def test_terminal_is_reached_over_tcp() -> None:
    with SerialLine(make_peripheral("zvt"), seed=9, tcp=("127.0.0.1", 0)) as line:
        assert line.tcp_address is not None
        host, port = line.tcp_address
        device = ZvtDevice(lambda: open_tcp(host, port), is_serial=False)
        assert poll(device).alive
        assert device.diagnosis().is_done
        device.close()
