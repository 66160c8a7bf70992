"""Whatever happens to line and device: no driver raises, no read changes anything, no fault stays behind."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from device_agent.drivers.escpos.device import PrinterDevice
from device_agent.drivers.modem.device import RADIO_EVERY, ModemDevice
from device_agent.drivers.zvt.device import ZvtDevice
from device_agent.drivers.zvt.wire import encode_block
from simulators.direct_port import DirectPort, WaitClock
from simulators.peripherals.peripheral import ChannelKind
from simulators.serial_command import FAMILIES, make_peripheral
from tests.support.driver_rig import Rig

POLLS_OF_A_BABBLER = 60
DRIVERS: dict[str, Callable[..., Any]] = {"zvt": ZvtDevice, "escpos": PrinterDevice, "modem": ModemDevice}
CHECKS = {
    "zvt": ("status_enquiry", "diagnosis"),
    "escpos": ("status", "identity"),
    "modem": ("registration", "signal", "sim", "data_context"),
}


class DriverLife(RuleBasedStateMachine):
    family = "zvt"

    def __init__(self) -> None:
        super().__init__()
        clock, peripheral = WaitClock(), make_peripheral(self.family)
        port = DirectPort(peripheral.open_channel(ChannelKind.SERIAL), clock, seed=17)
        self.rig = Rig(DRIVERS[self.family](port.open, monotonic=clock), peripheral, port, clock)
        self.was_noisy = False
        self.counted = astuple(self.rig.device.line_statistics)
        # Settings of the driver's own session are made by its first polls.
        self.rig.poll()

    @rule()
    def poll(self) -> None:
        result = self.rig.poll()
        assert result.alive or result.faults

    @rule(data=st.data())
    def check(self, data: st.DataObject) -> None:
        before = self.rig.peripheral.snapshot()
        getattr(self.rig.device, data.draw(st.sampled_from(CHECKS[self.family])))()
        # Noise may say anything to a device, and what it left there may make of a question something else.
        assert self.was_noisy or self.rig.peripheral.snapshot() == before

    @rule(data=st.data())
    def something_breaks(self, data: st.DataObject) -> None:
        self.rig.peripheral.apply_fault(data.draw(st.sampled_from(sorted(self.rig.peripheral.known_faults()))))

    @rule(share=st.sampled_from([0.0, 0.02, 1.0]))
    def noise_comes_and_goes(self, share: float) -> None:
        self.rig.port.damaged_share = share
        self.was_noisy = self.was_noisy or share > 0

    @rule(is_cut=st.booleans())
    def cable_is_cut_or_not(self, is_cut: bool) -> None:
        self.rig.port.is_cut = is_cut

    @rule(is_gone=st.booleans())
    def adapter_is_gone_or_not(self, is_gone: bool) -> None:
        self.rig.port.is_gone = is_gone

    @rule()
    def everything_is_mended(self) -> None:
        self.rig.port.is_cut = self.rig.port.is_gone = False
        self.rig.port.damaged_share = 0.0
        self.rig.peripheral.clear_fault()
        for _ in range(RADIO_EVERY + 2):
            result = self.rig.poll()
        assert result.alive
        assert not {sign.code for sign in result.faults} - {"term.SERIAL_FRAME"}

    @invariant()
    def counts_only_grow(self) -> None:
        now = astuple(self.rig.device.line_statistics)
        assert all(new >= old for new, old in zip(now, self.counted, strict=True))
        self.counted = now


@pytest.mark.parametrize("family", FAMILIES)
def test_driver_lives_through_anything(family: str) -> None:
    machine = type(f"DriverLife_{family}", (DriverLife,), {"family": family})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )


class Babbler:
    """A peer that sends damaged pieces of its family's speech and never stops."""

    def __init__(self, speech: bytes, clock: WaitClock) -> None:
        self._speech = speech
        self._clock = clock
        self._chance = random.Random(23)

    def open(self) -> Babbler:
        return self

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        self._clock.now_s += min(timeout_s, 0.02)
        start = self._chance.randrange(len(self._speech))
        piece = bytearray(self._speech[start : start + self._chance.randrange(1, 30)])
        piece[self._chance.randrange(len(piece))] = self._chance.randrange(256)
        return bytes(piece[:max_bytes])

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


SPEECH = {
    "zvt": b"\x06" + encode_block(bytes.fromhex("800000")) + encode_block(bytes.fromhex("060f01dc")) + b"\x15",
    "escpos": bytes.fromhex("1212127e1400000f") + b"\x5fTM-SIM80\0\x03",
    "modem": b"\r\n+CEREG: 2,1\r\n\r\nOK\r\n\r\n+CME ERROR: 10\r\n\r\nERROR\r\n",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_peer_that_never_stops_babbling_neither_raises_nor_holds_the_driver(family: str) -> None:
    clock = WaitClock()
    device = DRIVERS[family](Babbler(SPEECH[family], clock).open, monotonic=clock)
    for _ in range(POLLS_OF_A_BABBLER):
        started_s = clock()
        result = device.poll(datetime(2026, 3, 1, 8, 0, tzinfo=UTC))
        assert clock() - started_s < 60.0
    line = result.line
    assert line.noise_bytes + line.bad_frames > 0
    assert line.received_bytes > 0
