from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from simulators.processes import Child, run_to_end
from simulators.stop_signals import StopAsked, StopSignals

pytestmark = pytest.mark.integration
# From before the start until after it: starting takes a millisecond or two.
DELAYS_S = [step * 0.000_1 for step in range(40)]


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield StopSignals()
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def stop_after(delay_s: float) -> Iterator[threading.Event]:
    """The stop comes so long after the event is set."""
    go = threading.Event()

    def stop() -> None:
        go.wait()
        time.sleep(delay_s)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    yield go
    thread.join()


def own_children() -> set[int]:
    return {process.pid for process in psutil.Process().children()}


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("delay_s", DELAYS_S)
def test_whatever_was_started_when_a_stop_came_is_known_to_its_owner(tmp_path: Path, delay_s: float) -> None:
    before = own_children()
    signals = StopSignals()
    child = Child("sleeper", ["sleep", "60"], tmp_path / "log", hold=signals.held)

    def start_and_wait() -> None:
        signals.install()
        go.set()
        child.start()
        for _ in range(400):
            time.sleep(0.05)

    with stop_after(delay_s) as go, pytest.raises(StopAsked):
        start_and_wait()
    assert own_children() - before == ({child.pid} if child.pid else set())
    child.kill()


# A signal that comes on the very threshold of a wait does not cut it short: two seconds, then.
@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("delay_s", DELAYS_S)
def test_nothing_that_was_waited_for_outlives_a_stop(delay_s: float) -> None:
    before = own_children()
    signals = StopSignals()

    def run() -> None:
        signals.install()
        go.set()
        run_to_end(["sleep", "2"], within_s=60, hold=signals.held)

    with stop_after(delay_s) as go, pytest.raises(StopAsked):
        run()
    assert own_children() == before


def stop_twice() -> str:
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    return "whole"


def test_a_second_signal_changes_nothing(signals: StopSignals) -> None:
    signals.install()
    with pytest.raises(StopAsked):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)


def test_a_held_stop_comes_at_the_end_and_once(signals: StopSignals) -> None:
    signals.install()
    done = []
    with pytest.raises(StopAsked), signals.held():
        done.append(stop_twice())
    assert done == ["whole"]
    with signals.held():
        done.append("again")


def test_what_fails_while_a_stop_is_held_is_told_as_it_is(signals: StopSignals) -> None:
    signals.install()
    with pytest.raises(ZeroDivisionError), signals.held():
        _ = len(stop_twice()) / 0
