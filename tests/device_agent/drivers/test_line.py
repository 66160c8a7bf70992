from __future__ import annotations

import pytest

from device_agent.drivers.line import WINDOW_EXCHANGES, Line, LineDown
from simulators.direct_port import DirectPort, WaitClock
from simulators.peripherals.escpos_printer import EscposPrinter


@pytest.fixture
def port() -> DirectPort:
    return DirectPort(EscposPrinter(), WaitClock())


def test_port_is_opened_when_first_needed_and_once(port: DirectPort) -> None:
    line = Line(port.open)
    assert not line.is_open
    line.write(b"\x10\x04\x01")
    assert line.read(0.1) == b"\x12"
    assert (port.opened_count, line.statistics.reopened) == (1, 0)
    assert (line.statistics.sent_bytes, line.statistics.received_bytes) == (3, 1)


def test_port_that_does_not_open_is_a_line_down(port: DirectPort) -> None:
    port.is_gone = True
    with pytest.raises(LineDown, match="does not open"):
        Line(port.open).read(0.0)


def test_port_lost_while_open_is_closed_and_opened_again(port: DirectPort) -> None:
    line = Line(port.open)
    line.write(b"")
    port.is_gone = True
    with pytest.raises(LineDown, match="line lost"):
        line.read(0.0)
    assert not line.is_open
    port.is_gone = False
    line.write(b"")
    assert (port.opened_count, line.statistics.reopened) == (2, 1)


def test_rates_are_over_the_recent_exchanges_only(port: DirectPort) -> None:
    line = Line(port.open)
    assert line.readings() == {}
    line.begin_exchange()
    line.count_timeout()
    line.count_frames(bad=1)
    line.count_nak()
    rates = line.readings()
    assert set(rates.values()) == {100.0}
    for _ in range(WINDOW_EXCHANGES):
        line.begin_exchange()
    assert set(line.readings().values()) == {0.0}
    assert line.statistics.timeouts == 1


def test_draining_a_line_that_never_stops_is_bounded() -> None:
    class Babbler:
        def read(self, max_bytes: int, timeout_s: float) -> bytes:
            return b"x"

        def write(self, data: bytes) -> None: ...

        def close(self) -> None: ...

    assert len(Line(Babbler).drain()) < 100
