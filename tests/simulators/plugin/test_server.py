from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulators.testing.bench_terminal import BenchTerminal
from simulators.testing.errors import ActionUnknown, NotSeen, ServerMissing
from simulators.testing.server import FleetServer, existing

MakeTerminal = Callable[..., BenchTerminal]


def test_a_terminal_is_not_connected_to_a_server_of_somebody_else(tmp_path: Path) -> None:
    server = existing("http://127.0.0.1:9", "token", None)
    with pytest.raises(ServerMissing, match="started themselves"):
        server.connect(BenchTerminal("escpos", tmp_path))


@pytest.mark.acceptance
@pytest.mark.usefixtures("mosquitto")
def test_a_fault_is_raised_fixed_and_over_on_a_real_server(
    tillmedic_terminal: MakeTerminal, tillmedic_server: FleetServer
) -> None:
    device = tillmedic_server.connect(tillmedic_terminal("e_sign", fault="clock_drift"))
    tillmedic_server.wait_for_fault(device, "term.CLOCK_INVALID")
    fixed = tillmedic_server.run_fix(device, "clock.sync")
    assert (fixed["state"], fixed["verdict"]) == ("SUCCEEDED", "pass")
    assert tillmedic_server.wait_until_cleared(device, "term.CLOCK_INVALID")["cleared_at"]


@pytest.mark.acceptance
@pytest.mark.usefixtures("mosquitto")
def test_what_the_device_does_not_declare_is_answered_with_what_it_does(
    tillmedic_terminal: MakeTerminal, tillmedic_server: FleetServer
) -> None:
    device = tillmedic_server.connect(tillmedic_terminal("modem"))
    with pytest.raises(ActionUnknown, match=r"modem\.signal"):
        tillmedic_server.run_check(device, "modem.guess")
    with pytest.raises(NotSeen, match=r"in vain for fault cme\.13 of "):
        tillmedic_server.wait_for_fault(device, "cme.13", within_s=0.2)


@pytest.mark.acceptance
@pytest.mark.usefixtures("mosquitto")
def test_an_agent_ends_with_its_terminal(tillmedic_server: FleetServer, tmp_path: Path) -> None:
    terminal = BenchTerminal("escpos", tmp_path)
    terminal.start()
    device = tillmedic_server.connect(terminal)
    terminal.stop()
    page = tillmedic_server.api.get(f"/api/v1/devices/{device}/timeline?types=presence")
    assert [event["data"]["status"] for event in page["items"]][-1] == "online"
    assert tillmedic_server.running_agents() == []
