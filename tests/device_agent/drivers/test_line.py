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


def exchange(line: Line, *, wrong: bool) -> None:
    line.begin_exchange()
    if wrong:
        line.count_timeout()
        line.count_frames(bad=1)
        line.count_nak()


def test_rates_are_over_the_recent_exchanges_only(port: DirectPort) -> None:
    line = Line(port.open)
    assert line.readings() == {}
    for _ in range(3):
        exchange(line, wrong=True)
    assert set(line.readings().values()) == {100.0}
    for _ in range(WINDOW_EXCHANGES):
        exchange(line, wrong=False)
    assert set(line.readings().values()) == {0.0}
    assert (line.statistics.timeouts, line.recent.exchanges) == (3, WINDOW_EXCHANGES)


@pytest.mark.parametrize(("wrong", "told"), [(0, True), (1, False), (2, False), (3, True)])
def test_one_or_two_lost_among_few_are_no_rate_yet(port: DirectPort, wrong: int, told: bool) -> None:
    line = Line(port.open)
    for number in range(20):
        exchange(line, wrong=number < wrong)
    assert set(line.readings().values()) == ({5.0 * wrong} if told else set())
    assert {line.recent.timed_out, line.recent.damaged, line.recent.refused} == {wrong}
    for _ in range(WINDOW_EXCHANGES - 20):
        exchange(line, wrong=False)
    assert set(line.readings().values()) == {float(wrong)}


def test_draining_a_line_that_never_stops_is_bounded() -> None:
    class Babbler:
        def read(self, max_bytes: int, timeout_s: float) -> bytes:
            return b"x"

        def write(self, data: bytes) -> None: ...

        def close(self) -> None: ...

    assert len(Line(Babbler).drain()) < 100
