"""How soon the pipe is whole again after an outage: the parts wait longer and longer, but not beyond its end."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from protocol.session import HELLO_RETRY_FIRST_S
from tests.device_agent.core.rig import Clock
from tests.model.broker import Broker
from tests.model.server import Server
from tests.model.terminal import Terminal
from tests.model.test_pipe import template
from tests.support.fleet_rows import TERMINAL

__all__ = ["template"]
ROUND_S = 1.0
DARK_ROUND_S = 10.0


class Outage:
    """One terminal with more waiting than fits into its windows; nobody listens, and nothing comes through."""

    def __init__(self, template: Path, folder: Path) -> None:
        self.clock = Clock(1000.0)
        self.broker = Broker()
        self.server = Server(template, folder, self.broker, self.clock)
        self.terminal = Terminal(TERMINAL, folder, self.broker, self.clock, 2**22, seed=1)

    def pass_s(self, seconds: float, *, is_heard: bool) -> None:
        give_up_s = self.clock.seconds + seconds
        while self.clock.seconds < give_up_s and not (is_heard and self.terminal.is_drained):
            self.clock.pass_s(ROUND_S if is_heard else DARK_ROUND_S)
            self.terminal.run()
            if is_heard:
                self.server.take()
                while self.terminal.is_connected and self.broker.down[TERMINAL]:
                    self.terminal.hear(0)
            else:
                self.broker.up.clear()
                self.broker.down.clear()

    def close(self) -> None:
        self.server.close()
        self.terminal.close()


@pytest.fixture
def outage(template: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Outage:
    caplog.set_level(logging.CRITICAL)
    return Outage(template, tmp_path)


@pytest.mark.parametrize("is_restored", [True, False])
@pytest.mark.parametrize("minutes", [3, 7, 22])
def test_what_waited_out_an_outage_arrives_within_seconds_of_its_end(
    outage: Outage, minutes: int, *, is_restored: bool
) -> None:
    outage.pass_s(60, is_heard=True)
    assert outage.terminal.is_drained
    outage.server.back_up()
    outage.terminal.notice(250, "")
    outage.pass_s(60 * minutes, is_heard=False)
    if is_restored:
        outage.server.restore(is_said=True)
    else:
        outage.server.restart()
    began_s = outage.clock.seconds
    outage.pass_s(400, is_heard=True)
    assert outage.terminal.is_drained
    assert outage.clock.seconds - began_s <= 20
    outage.close()


def test_link_that_greeted_nobody_is_welcomed_within_seconds_of_the_return(outage: Outage) -> None:
    outage.pass_s(60 * 13, is_heard=False)
    outage.server.restart()
    began_s = outage.clock.seconds
    outage.terminal.notice(1, "")
    outage.pass_s(400, is_heard=True)
    assert outage.terminal.is_drained
    assert outage.clock.seconds - began_s <= 2 * HELLO_RETRY_FIRST_S
    outage.close()
